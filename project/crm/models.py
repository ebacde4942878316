"""The tables that ship: clients with their tags, orders with their payments, invoices, documents.

Columns that may stay empty have defaults in the database too, since programs other than this one write here.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, router
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from syncapp import series


class Tag(models.Model):
    """A word by which clients are grouped."""

    name = models.CharField(_("name"), max_length=64, unique=True)

    class Meta:
        verbose_name = _("tag")
        verbose_name_plural = _("tags")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Client(models.Model):
    """A company or a person who orders."""

    name = models.CharField(_("name"), max_length=200, db_index=True)
    tax_id = models.CharField(
        _("tax ID"), max_length=32, blank=True, default="", db_default="", db_index=True
    )
    address = models.CharField(_("address"), max_length=300, blank=True, default="", db_default="")
    phone = models.CharField(_("phone"), max_length=40, blank=True, default="", db_default="")
    email = models.EmailField(_("e-mail"), blank=True, default="", db_default="")
    note = models.TextField(_("note"), blank=True, default="", db_default="")
    manager = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        verbose_name=_("manager"),
        null=True,
        blank=True,
        related_name="clients",
    )
    tags = models.ManyToManyField(Tag, verbose_name=_("tags"), blank=True, related_name="clients")
    created_at = models.DateTimeField(_("added"), auto_now_add=True, db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("client")
        verbose_name_plural = _("clients")
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """What a client wants, and how far it has come."""

    class Status(models.TextChoices):
        """Where an order stands."""

        NEW = "new", _("new")
        IN_PROGRESS = "in_progress", _("in progress")
        SHIPPED = "shipped", _("shipped")
        PAID = "paid", _("paid")
        CANCELLED = "cancelled", _("cancelled")

    number = models.CharField(_("number"), max_length=32, unique=True)
    client = models.ForeignKey(Client, models.CASCADE, verbose_name=_("client"), related_name="orders")
    subject = models.CharField(_("subject"), max_length=200, blank=True, default="", db_default="")
    status = models.CharField(
        _("status"),
        max_length=16,
        choices=Status.choices,
        default=Status.NEW,
        db_default=Status.NEW.value,
        db_index=True,
    )
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2, default=0, db_default=0)
    created_at = models.DateTimeField(_("added"), auto_now_add=True, db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.number


class Payment(models.Model):
    """Money received for an order."""

    class Method(models.TextChoices):
        """How the money came."""

        TRANSFER = "transfer", _("bank transfer")
        CARD = "card", _("card")
        CASH = "cash", _("cash")

    order = models.ForeignKey(Order, models.CASCADE, verbose_name=_("order"), related_name="payments")
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    method = models.CharField(
        _("method"),
        max_length=16,
        choices=Method.choices,
        default=Method.TRANSFER,
        db_default=Method.TRANSFER.value,
    )
    paid_on = models.DateField(_("paid on"), db_index=True)
    comment = models.CharField(_("comment"), max_length=300, blank=True, default="", db_default="")

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        ordering = ["-paid_on", "-id"]

    def __str__(self) -> str:
        return f"{self.order} · {self.amount}"


class Invoice(models.Model):
    """A request to pay, with a number that no other invoice has.

    Left empty, the number is the next one of the shared series, where one is declared for it.
    """

    SERIES = "crm.Invoice.number"

    number = models.CharField(_("number"), max_length=32, unique=True, blank=True)
    client = models.ForeignKey(Client, models.CASCADE, verbose_name=_("client"), related_name="invoices")
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2, default=0, db_default=0)
    issued_on = models.DateField(_("issued on"), db_index=True)
    paid = models.BooleanField(_("paid"), default=False, db_default=False)
    created_at = models.DateTimeField(_("added"), auto_now_add=True, db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("invoice")
        verbose_name_plural = _("invoices")
        ordering = ["-issued_on", "-id"]

    def __str__(self) -> str:
        return self.number

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Take the next number for an invoice without one."""
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        if not self.number and series.declared(self.SERIES, using=using):
            self.number = series.next_number(self.SERIES, using=using)
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "number"}
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Want a number by hand where there is no series."""
        super().clean()
        if not self.number and not series.declared(self.SERIES):
            raise ValidationError(
                {"number": _("Enter a number: there is no shared series of invoice numbers here.")}
            )


class Document(models.Model):
    """A file that belongs to a client."""

    client = models.ForeignKey(Client, models.CASCADE, verbose_name=_("client"), related_name="documents")
    title = models.CharField(_("title"), max_length=200)
    file = models.FileField(_("file"), upload_to="documents/%Y/%m/", max_length=255, blank=True)
    created_at = models.DateTimeField(_("added"), auto_now_add=True, db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("document")
        verbose_name_plural = _("documents")
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.title
