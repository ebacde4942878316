"""The `Backend` over Django's databases: set-based SQL, with what differs between vendors in a dialect."""

from syncapp.store.sql.backend import SqlBackend

__all__ = ["SqlBackend"]
