"""``manage.py demodata``: plausible, unique, and the same for the same seed."""

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from project.crm import demodata
from project.crm.demowords import INN_WEIGHTS, latin
from project.crm.models import Client, Invoice, Order, Payment, Tag

pytestmark = pytest.mark.django_db


def contents() -> dict[str, list[tuple[Any, ...]]]:
    """Give every row, ids included."""
    models = [Tag, Client, Order, Payment, Invoice, Client.tags.through]
    return {model.__name__: list(model._default_manager.order_by("pk").values_list()) for model in models}


def make(*arguments: str) -> str:
    """Run the command; give what it prints."""
    out = StringIO()
    call_command("demodata", *arguments, stdout=out)
    return out.getvalue()


def test_the_same_seed_gives_the_same_rows() -> None:
    first = demodata.Generator(5, demodata.staff()).generate(40)
    make("--clients", "40", "--seed", "5")
    second = contents()
    assert [row.created_at for row in first.orders] == list(
        Order.objects.order_by("pk").values_list("created_at", flat=True)
    )
    for model in (Client, Tag):
        model.objects.all().delete()
    make("--clients", "40", "--seed", "5")
    again = contents()
    for table, rows in second.items():
        if table not in (
            "Order",
            "Payment",
            "Invoice",
            "Client_tags",
        ):  # their ids and relations go on counting
            assert [row[1:] for row in again[table]] == [row[1:] for row in rows], table
        assert len(again[table]) == len(rows)


def test_another_seed_gives_others() -> None:
    names = [[client.name for client in demodata.Generator(seed, []).generate(20).clients] for seed in (1, 2)]
    assert names[0] != names[1]


def test_what_must_be_unique_is() -> None:
    make()
    assert Client.objects.count() == 200
    for values in (
        Client.objects.values_list("tax_id", flat=True),
        Client.objects.values_list("email", flat=True),
        Order.objects.values_list("number", flat=True),
        Invoice.objects.values_list("number", flat=True),
        Payment.objects.values_list("order", "paid_on", "amount"),
    ):
        assert len(set(values)) == len(values) > 0


def test_rows_are_valid_and_plausible() -> None:
    make("--clients", "60")
    for model in (Tag, Client, Order, Payment, Invoice):
        for row in model._default_manager.all():
            row.clean_fields()
    names = " ".join(Client.objects.values_list("name", flat=True))
    assert "ООО" in names
    assert "Ltd" in names
    assert Client.objects.exclude(note="").exists()
    assert Client.objects.filter(tags__isnull=False).exists()
    assert all(
        payment.paid_on > payment.order.created_at.date()
        for payment in Payment.objects.select_related("order")
    )


def test_tax_numbers_have_right_check_digits() -> None:
    make("--clients", "60")
    numbers = [number for number in Client.objects.values_list("tax_id", flat=True) if number.isdigit()]
    assert {len(number) for number in numbers} == {10, 12}
    for number in numbers:
        digits = list(map(int, number))
        for weights in INN_WEIGHTS[len(number)]:
            expected = sum(weight * digit for weight, digit in zip(weights, digits, strict=False)) % 11 % 10
            assert digits[len(weights)] == expected


def test_a_database_that_holds_something_is_left_alone() -> None:
    Client.objects.create(name="mine")
    with pytest.raises(CommandError, match="nothing was changed"):
        make()
    assert make("--if-empty") == "The database has data already; it stays as it is.\n"
    assert Client.objects.count() == 1


def test_json_output() -> None:
    assert json.loads(make("--clients", "3", "--json"))["created"]["clients"] == 3


def test_the_demo_users_cannot_log_in() -> None:
    make("--clients", "3")
    users = User.objects.filter(username__in=["anna", "peter"])
    assert len(users) == 2
    assert all(user.is_staff and not user.has_usable_password() for user in users)


def test_new_rows_get_the_present_time_afterwards() -> None:
    make("--clients", "3")
    newest = Client.objects.create(name="new")
    assert newest.created_at > demodata.FIRST_DAY.replace(year=2026)


def test_russian_names_in_latin_letters() -> None:
    assert latin("Щербакова Юлия") == "scherbakova yuliya"
