"""Who may see the panel, and who may change what it shows."""

from __future__ import annotations

from typing import Any

VIEW = "syncapp.view_link"
CONFIGURE = "syncapp.change_link"


def may_view(user: Any) -> bool:
    """Active staff who may see links."""
    return bool(user.is_active and user.is_staff and user.has_perm(VIEW))


def may_configure(user: Any) -> bool:
    """Those who may view, and may change links too."""
    return may_view(user) and bool(user.has_perm(CONFIGURE))
