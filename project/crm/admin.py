"""The CRM's pages in the Django admin."""

from contextlib import nullcontext
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from project.crm.models import Client, Document, Invoice, Order, Payment, Tag
from syncapp import series


class OrderInline(admin.TabularInline):
    """A client's orders on the client's page."""

    model = Order
    fields = ["number", "subject", "status", "amount"]
    show_change_link = True
    extra = 0


class DocumentInline(admin.TabularInline):
    """A client's documents on the client's page."""

    model = Document
    fields = ["title", "file"]
    extra = 0


class PaymentInline(admin.TabularInline):
    """An order's payments on the order's page."""

    model = Payment
    fields = ["amount", "method", "paid_on", "comment"]
    extra = 0


@admin.register(Tag)
class TagAdmin(admin.ModelAdmin):
    """Tags."""

    search_fields = ["name"]


@admin.register(Client)
class ClientAdmin(admin.ModelAdmin):
    """Clients, with their orders and documents."""

    list_display = ["name", "tax_id", "phone", "email", "manager", "created_at"]
    list_filter = ["tags", "manager", "created_at"]
    list_select_related = ["manager"]
    search_fields = ["name", "tax_id", "phone", "email", "address"]
    autocomplete_fields = ["manager", "tags"]
    readonly_fields = ["created_at"]
    date_hierarchy = "created_at"
    inlines = [OrderInline, DocumentInline]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders, with their payments."""

    list_display = ["number", "client", "subject", "status", "amount", "created_at"]
    list_filter = ["status", "created_at"]
    list_select_related = ["client"]
    search_fields = ["number", "subject", "client__name"]
    autocomplete_fields = ["client"]
    readonly_fields = ["created_at"]
    date_hierarchy = "created_at"
    inlines = [PaymentInline]


@admin.register(Payment)
class PaymentAdmin(admin.ModelAdmin):
    """Payments."""

    list_display = ["order", "client", "amount", "method", "paid_on", "comment"]
    list_filter = ["method", "paid_on"]
    list_select_related = ["order__client"]
    search_fields = ["order__number", "order__client__name", "comment"]
    autocomplete_fields = ["order"]
    date_hierarchy = "paid_on"

    @admin.display(description=Client._meta.verbose_name, ordering="order__client__name")
    def client(self, payment: Payment) -> Client:
        """Give the client who paid."""
        return payment.order.client


@admin.register(Invoice)
class InvoiceAdmin(admin.ModelAdmin):
    """Invoices."""

    list_display = ["number", "client", "amount", "issued_on", "paid"]
    list_filter = ["paid", "issued_on"]
    list_select_related = ["client"]
    search_fields = ["number", "client__name"]
    autocomplete_fields = ["client"]
    readonly_fields = ["created_at"]
    date_hierarchy = "issued_on"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Reserve the number of a new invoice before the page's transaction begins."""
        new = request.method == "POST" and object_id is None and not request.POST.get("number")
        with series.reserve(Invoice.SERIES) if new else nullcontext():
            return super().changeform_view(request, object_id, form_url, extra_context)


@admin.register(Document)
class DocumentAdmin(admin.ModelAdmin):
    """Documents."""

    list_display = ["title", "client", "file", "created_at"]
    list_filter = ["created_at"]
    list_select_related = ["client"]
    search_fields = ["title", "client__name"]
    autocomplete_fields = ["client"]
    readonly_fields = ["created_at"]
