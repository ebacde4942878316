"""Users with and without the right to see links."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client


def user(name: str = "anna", *permissions: str, staff: bool = True, **values: Any) -> User:
    """A user with ``permissions`` of syncapp."""
    made = User.objects.create_user(name, password="secret", is_staff=staff, **values)
    made.user_permissions.set(
        Permission.objects.filter(content_type__app_label="syncapp", codename__in=permissions)
    )
    return made


def viewer(name: str = "viewer") -> User:
    """Staff who may see links."""
    return user(name, "view_link")


def keeper(name: str = "keeper") -> User:
    """Staff who may see and change links."""
    return user(name, "view_link", "change_link")


def browser(user: User | None = None, **options: Any) -> Client:
    """A browser in which ``user`` is logged in."""
    client = Client(**options)
    if user is not None:
        client.force_login(user)
    return client
