"""The Django app: keeps catalogue and triggers in step with migrations."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_migrate, post_save, pre_migrate
from django.utils.translation import gettext_lazy as _


class SyncappConfig(AppConfig):
    """Django's entry to syncapp."""

    name = "syncapp"
    verbose_name = _("Synchronisation")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from syncapp import checks  # noqa: F401 - importing registers them

        post_save.connect(
            _user_saved, sender=settings.AUTH_USER_MODEL, dispatch_uid="syncapp.user_saved", weak=False
        )
        # Both signals come once per app, before the first and after the last migration: one sender is enough.
        pre_migrate.connect(_before_migrate, sender=self, dispatch_uid="syncapp.before_migrate")
        post_migrate.connect(_after_migrate, sender=self, dispatch_uid="syncapp.after_migrate")


def _before_migrate(*, using: str, plan: list[Any] | None = None, **_kwargs: Any) -> None:
    """Take the triggers away: they would stop columns from being altered and miss tables that are rebuilt."""
    from syncapp.store import catalogue, migrating, triggers

    # Without a migration to run nothing needs them gone, and meanwhile others' changes would go unseen.
    if plan:
        ours = any(migration.app_label == SyncappConfig.name for migration, _ in plan)
        if not ours and catalogue.usable(using) and triggers.ready(using):
            migrating.mark(using)
        triggers.before_migrate(using)


def _after_migrate(*, using: str, **_kwargs: Any) -> None:
    """Bring the catalogue up to date and put the triggers back."""
    from syncapp.store import catalogue, migrating, triggers

    if not catalogue.usable(using):
        return
    changes = catalogue.refresh(using)
    models = {label: table.description.model for label, table in catalogue.tables(using).items()}
    migrating.forget_emptied(using, [label for label in changes.returned if label in models], models)
    if triggers.after_migrate(using):
        migrating.find(using)


#: Fields of users that no other program knows them by.
_UNKNOWN_TO_OTHERS = frozenset({"last_login", "password"})


def _user_saved(*, using: str, update_fields: Collection[str] | None = None, **_kwargs: Any) -> None:
    """Somebody was created or renamed: values that wait for a user may be about this one."""
    from syncapp.store import catalogue, usermatching

    if update_fields is not None and set(update_fields) <= _UNKNOWN_TO_OTHERS:
        return

    def retry() -> None:
        if catalogue.usable(using):
            usermatching.retry_users(using)

    # Not within the transaction that saves the user: it must neither fail nor wait for this.
    transaction.on_commit(retry, using=using, robust=True)
