"""The tables of `schema` as Django models.

They are not managed, and so on offer only to a program that names them (``SYNCAPP_TABLES``): no other test sees them.
"""

from __future__ import annotations

from django.db import models


class Tag(models.Model):
    title = models.CharField(max_length=50, null=True)
    label = models.CharField(max_length=50, null=True, unique=True)

    class Meta:
        app_label = "testapp"
        managed = False
        db_table = "sim_tag"


class Client(models.Model):
    code = models.CharField(max_length=50, null=True, unique=True)
    name = models.CharField(max_length=50, null=True)
    phone = models.CharField(max_length=50, null=True)
    source = models.CharField(max_length=50, null=True)
    note = models.CharField(max_length=50, null=True)
    parent = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")
    tags = models.ManyToManyField(Tag, db_table="sim_client_tags", related_name="+")

    class Meta:
        app_label = "testapp"
        managed = False
        db_table = "sim_client"


class Order(models.Model):
    number = models.CharField(max_length=50, null=True, unique=True)
    subject = models.CharField(max_length=50, null=True)
    client = models.ForeignKey(Client, models.CASCADE, related_name="+")
    payer = models.ForeignKey(Client, models.SET_NULL, null=True, related_name="+")

    class Meta:
        app_label = "testapp"
        managed = False
        db_table = "sim_order"


class Stock(models.Model):
    item = models.CharField(max_length=50, null=True, unique=True)
    amount = models.BigIntegerField()
    groups = models.ManyToManyField(Tag, db_table="sim_stock_groups", related_name="+")

    class Meta:
        app_label = "testapp"
        managed = False
        db_table = "sim_stock"


MODELS: dict[str, type[models.Model]] = {"client": Client, "tag": Tag, "order": Order, "stock": Stock}
#: For ``SYNCAPP_TABLES``.
OFFERED = [model._meta.label for model in MODELS.values()]
