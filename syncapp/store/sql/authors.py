"""Who made a row, as Django's admin has written it down."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.apps import apps

from syncapp.core.mapping import Kind
from syncapp.store.sql.database import Database
from syncapp.store.sql.layout import TableLayout


def creators(database: Database, layout: TableLayout, pks: Collection[str]) -> dict[str, str]:
    """Local key → key of the user; rows that were not made in the admin are not there."""
    if not (apps.is_installed("django.contrib.admin") and apps.is_installed("django.contrib.contenttypes")):
        return {}
    from django.contrib.admin.models import ADDITION, LogEntry
    from django.contrib.contenttypes.models import ContentType

    using, binding = database.using, layout.binding
    kind = ContentType.objects.db_manager(using).get_for_model(binding.model)
    # The admin writes keys as people see them.
    names = {str(uuid.UUID(pk)) if binding.pk_kind is Kind.UUID else pk: pk for pk in pks}
    found: dict[str, str] = {}
    for part in database.parts(list(names)):
        rows = LogEntry.objects.using(using).filter(
            content_type=kind, action_flag=ADDITION, object_id__in=part
        )
        for name, user in rows.order_by("pk").values_list("object_id", "user_id"):
            found[names[str(name)]] = str(user)
    return found
