"""Finding the link that a command names."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.utils.translation import gettext

from syncapp.models import Link


def chosen_link(name: str) -> Link:
    """The link called ``name``. Raises CommandError (exit code 1) that lists those there are."""
    try:
        return Link.objects.get(name=name)
    except Link.DoesNotExist:
        names = ", ".join(
            f'"{link}"' for link in Link.objects.order_by("name").values_list("name", flat=True)
        )
        template = gettext('There is no link "{name}". Links: {names}.')
        raise CommandError(template.format(name=name, names=names or "–")) from None
