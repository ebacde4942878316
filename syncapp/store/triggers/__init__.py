"""Change capture by database triggers: compiled purely per database, installed and verified apart from that."""

from syncapp.store.triggers.base import decode_mask
from syncapp.store.triggers.install import (
    Missing,
    Outdated,
    after_migrate,
    before_migrate,
    install_all,
    ready,
    remove_all,
    verify,
)

__all__ = [
    "Missing",
    "Outdated",
    "after_migrate",
    "before_migrate",
    "decode_mask",
    "install_all",
    "ready",
    "remove_all",
    "verify",
]
