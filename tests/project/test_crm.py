"""The tables that ship, and their pages in the admin."""

import datetime
from decimal import Decimal

import pytest
from django.apps import apps
from django.contrib.admin.sites import site
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client as Browser
from django.urls import reverse
from django.utils import translation

from project.crm.models import Client, Document, Invoice, Order, Payment, Tag
from syncapp import conf
from syncapp.store import config

MODELS = [Client, Document, Invoice, Order, Payment, Tag]
pytestmark = pytest.mark.django_db


@pytest.fixture
def client_row() -> Client:
    client = Client.objects.create(name="ООО «Ромашка»", tax_id="7707083893")
    order = Order.objects.create(number="25-000001", client=client, amount=Decimal("10.50"))
    Payment.objects.create(order=order, amount=Decimal("10.50"), paid_on=datetime.date(2025, 3, 1))
    Invoice.objects.create(number="000001", client=client, issued_on=datetime.date(2025, 3, 1))
    Document.objects.create(client=client, title="Договор")
    client.tags.add(Tag.objects.create(name="VIP"))
    return client


@pytest.fixture
def browser() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("admin"))
    return browser


def test_the_tables_are_the_ones_promised() -> None:
    tables = {model._meta.db_table for model in apps.get_app_config("crm").get_models()}
    assert tables == {"crm_client", "crm_tag", "crm_order", "crm_payment", "crm_invoice", "crm_document"}


def test_columns_are_the_ones_promised() -> None:
    def columns(model: type) -> list[str]:
        return sorted(
            field.name for field in model._meta.get_fields() if field.concrete and field.name != "id"
        )

    assert columns(Client) == sorted(
        ["name", "tax_id", "address", "phone", "email", "note", "manager", "tags", "created_at"]
    )
    assert columns(Order) == sorted(["number", "client", "subject", "status", "amount", "created_at"])
    assert columns(Payment) == sorted(["order", "amount", "method", "paid_on", "comment"])
    assert columns(Invoice) == sorted(["number", "client", "amount", "issued_on", "paid", "created_at"])
    assert columns(Document) == sorted(["client", "title", "file", "created_at"])


def test_another_program_may_leave_out_what_may_be_empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO crm_client (name) VALUES ('by hand')")
        cursor.execute("INSERT INTO crm_order (number, client_id) SELECT 'by-hand', id FROM crm_client")
    order = Order.objects.select_related("client").get()
    assert (order.client.phone, order.client.note, order.client.manager) == ("", "", None)
    assert (order.status, order.amount) == ("new", Decimal(0))
    assert abs(order.created_at - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)


def test_rows_say_what_they_are(client_row: Client) -> None:
    assert str(client_row) == "ООО «Ромашка»"
    assert [str(model.objects.get()) for model in (Tag, Order, Payment, Invoice, Document)] == [
        "VIP",
        "25-000001",
        "25-000001 · 10.50",
        "000001",
        "Договор",
    ]


@pytest.mark.parametrize("model", MODELS)
def test_every_table_has_its_admin_pages(model: type, browser: Browser, client_row: Client) -> None:
    assert site.is_registered(model)
    prefix = f"admin:crm_{model._meta.model_name}"
    row = model.objects.get()
    for address in (
        reverse(f"{prefix}_changelist"),
        reverse(f"{prefix}_changelist") + "?q=Ромашка",
        reverse(f"{prefix}_add"),
        reverse(f"{prefix}_change", args=[row.pk]),
    ):
        assert browser.get(address).status_code == 200, address


def test_the_front_page_leads_to_the_admin(browser: Browser) -> None:
    assert browser.get("/").headers["location"] == "/admin/"
    page = browser.get("/admin/").content.decode()
    assert '<a href="/admin/">Test</a>' in page.replace("\n", "")
    assert 'href="/sync/"' in page


def test_a_person_picks_the_language(browser: Browser, settings: object) -> None:
    answer = browser.post("/i18n/setlang/", {"language": "ru", "next": "/admin/crm/client/"}, follow=True)
    page = answer.content.decode()
    assert "Выберите клиент" in page
    assert "Синхронизация" in page


def test_tables_and_fields_have_russian_names() -> None:
    with translation.override("ru"):
        assert [str(model._meta.verbose_name_plural) for model in MODELS] == [
            "клиенты",
            "документы",
            "счета",
            "заказы",
            "платежи",
            "метки",
        ]
        assert Order.Status.IN_PROGRESS.label == "в работе"
        assert Client._meta.get_field("tax_id").verbose_name == "ИНН"


def test_uploaded_files_are_for_staff(browser: Browser) -> None:
    assert Browser().get("/media/documents/a.txt").status_code == 302
    assert browser.get("/media/documents/a.txt").status_code == 404


def test_static_files_need_no_collecting(browser: Browser) -> None:
    answer = browser.get("/static/admin/css/base.css")
    assert answer.status_code == 200
    assert b"".join(answer.streaming_content).strip()
    answer.close()


def test_an_invoice_without_a_number_wants_one_where_there_is_no_series() -> None:
    client = Client.objects.create(name="A")
    invoice = Invoice(client=client, issued_on=datetime.date(2026, 3, 1))
    with pytest.raises(ValidationError) as refused:
        invoice.full_clean()
    assert list(refused.value.error_dict) == ["number"]
    Invoice(number="7", client=client, issued_on=datetime.date(2026, 3, 1)).full_clean()


def test_an_invoice_takes_its_number_from_the_series() -> None:
    config.apply(
        f'[[series]]\nfield = "crm.Invoice.number"\nowner = "{conf.current().instance}"\nformat = "{{:06}}"'
    )
    client = Client.objects.create(name="A")
    made = [Invoice.objects.create(client=client, issued_on=datetime.date(2026, 3, 1)) for _ in range(2)]
    by_hand = Invoice.objects.create(number="7", client=client, issued_on=datetime.date(2026, 3, 1))
    made[0].save()
    assert [invoice.number for invoice in (*made, by_hand)] == ["000001", "000002", "7"]
