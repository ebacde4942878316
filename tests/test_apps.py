"""What happens around migrations, and the public names."""

from typing import Any

import pytest
from django.apps import apps as django_apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.migrations import Migration
from django.test import override_settings

import syncapp
from syncapp import apps
from syncapp.models import Field, Instance, Problem, Table
from syncapp.store import catalogue, triggers
from tests import rows
from tests.store.configs import PASSIVE, apply

pytestmark = pytest.mark.django_db


def test_the_public_names() -> None:
    assert sorted(syncapp.__all__) == ["Applying", "__version__", "applying", "series", "signals"]
    assert all(hasattr(syncapp, name) for name in syncapp.__all__)
    assert not hasattr(syncapp, "something_else")


def test_migrating_without_a_migration_leaves_the_triggers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(using: str) -> None:
        raise AssertionError("the triggers were taken away for nothing")

    monkeypatch.setattr(triggers, "before_migrate", fail)
    call_command("migrate", verbosity=0)
    apps._before_migrate(using="default", plan=[])


def test_a_migration_takes_the_triggers_away_and_puts_them_back() -> None:
    apply(PASSIVE)
    assert triggers.verify() == []
    apps._before_migrate(using="default", plan=[(Migration("0002", "crm"), False)])
    assert triggers.verify() != []
    apps._after_migrate(using="default")
    assert triggers.verify() == []


def test_after_a_migration_the_catalogue_is_up_to_date() -> None:
    Table.objects.all().delete()
    with override_settings(SYNCAPP_TABLES=["crm.Tag"]):
        apps._after_migrate(using="default")
    assert list(Table.objects.values_list("label", flat=True)) == ["crm.Tag"]


@pytest.mark.django_db(transaction=True)
def test_tables_that_go_and_come_back_by_migrations() -> None:
    apply(PASSIVE)
    numbers = set(Field.objects.values_list("number", "table__label", "name"))
    captured = catalogue.load_setup().captured
    try:
        call_command("migrate", "crm", "zero", verbosity=0)
        assert "crm.Client" not in catalogue.tables()
        assert catalogue.load_setup().captured == frozenset()
        assert triggers.verify() == []
    finally:
        call_command("migrate", verbosity=0)
    assert set(Field.objects.values_list("number", "table__label", "name")) == numbers
    assert catalogue.load_setup().captured == captured
    assert triggers.verify() == []


def test_migrating_before_syncapp_has_its_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    names: Any = connection.introspection.table_names
    monkeypatch.setattr(
        connection.introspection,
        "table_names",
        lambda cursor=None: [name for name in names(cursor) if not name.startswith("syncapp_")],
    )
    before = Instance.objects.get().config_version
    apps._after_migrate(using="default")
    assert Instance.objects.get().config_version == before


def test_a_new_user_makes_due_what_waits_for_one(django_capture_on_commit_callbacks: Any) -> None:
    link = rows.link()
    waiting = rows.problem(link, rows.field("manager"), code="unknown_user")
    several = rows.problem(link, rows.field("manager"), code="ambiguous_user")
    rows.problem(link, rows.field("phone"))

    def due() -> set[int]:
        found = set(Problem.objects.filter(next_try=0).values_list("pk", flat=True))
        Problem.objects.update(next_try=1)
        return found

    with django_capture_on_commit_callbacks(execute=True):
        anna = get_user_model().objects.create(username="anna")
    assert due() == {waiting.pk, several.pk}
    with django_capture_on_commit_callbacks(execute=True):
        anna.save(update_fields=["last_login"])
    assert due() == set()
    with django_capture_on_commit_callbacks(execute=True):
        anna.save(update_fields=["username"])
    assert due() == {waiting.pk, several.pk}


def test_constraints_and_tables_have_names_of_their_own() -> None:
    """PostgreSQL keeps the indexes of unique constraints and the tables in one space of names."""
    models = django_apps.get_app_config("syncapp").get_models()
    options = [model._meta for model in models]
    tables = {meta.db_table for meta in options}
    named = [item.name for meta in options for item in (*meta.constraints, *meta.indexes)]
    assert tables & set(named) == set()
    assert len(named) == len(set(named))
