"""Settings of syncapp, and the encryption of secrets at rest.

Each value is read from Django's settings, else from the environment, under the name in `Settings`' comments.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

MIB = 1024 * 1024
SECOND = 1_000_000  # µs


@dataclass(frozen=True, slots=True)
class Settings:
    """What the administrator of this program has set, with defaults. Times in µs, sizes in bytes."""

    #: ``SYNCAPP_TABLES``: patterns of tables on offer, later ones win, ``!`` takes away; e.g. ``["shop.*",
    #: "!shop.Secret"]``. Empty: every model that is not Django's own, the users', or syncapp's.
    tables: tuple[str, ...] = ()
    #: ``SYNCAPP_INSTANCE``: short name of this program; it names folders and cookies.
    instance: str = "main"
    #: ``SYNCAPP_TITLE``: what people see; default: the short name.
    title: str = "Main"
    #: ``SYNCAPP_PUBLIC_URL``: how peers and people reach this program; empty: not known.
    public_url: str = ""
    #: ``SYNCAPP_SECRET_KEY``: encrypts the links' secrets; default: ``SECRET_KEY``.
    secret_key: str = field(default="", repr=False)
    #: ``SYNCAPP_CLOCK_WARN`` (seconds): clocks of two programs that differ by more are warned about.
    clock_warn: int = 2 * SECOND
    #: ``SYNCAPP_CLOCK_REFUSE`` (seconds): … by more than this do not exchange anything.
    clock_refuse: int = 300 * SECOND
    #: ``SYNCAPP_MAX_MESSAGE`` (bytes): a longer message of a peer is refused.
    max_message: int = 64 * MIB
    #: ``SYNCAPP_WINDOW`` (bytes): how much may be under way to a peer without its acknowledgement.
    window: int = 4 * MIB
    #: ``SYNCAPP_TOMBSTONE_DAYS``: deleted records are remembered at least so long, and until all peers know.
    tombstone_days: int = 30
    #: ``SYNCAPP_LOG_DAYS``: older log rows are removed.
    log_days: int = 30
    #: ``SYNCAPP_LOG_ROWS``: … and the oldest beyond this many.
    log_rows: int = 100_000


def current() -> Settings:
    """The settings as they are now. Raises ImproperlyConfigured for a value that makes no sense."""
    instance = _text("SYNCAPP_INSTANCE") or "main"
    return Settings(
        tables=_patterns(),
        instance=instance,
        title=_text("SYNCAPP_TITLE") or instance.replace("-", " ").capitalize(),
        public_url=_text("SYNCAPP_PUBLIC_URL").rstrip("/"),
        secret_key=_text("SYNCAPP_SECRET_KEY") or settings.SECRET_KEY,
        clock_warn=round(_number("SYNCAPP_CLOCK_WARN", 2) * SECOND),
        clock_refuse=round(_number("SYNCAPP_CLOCK_REFUSE", 300) * SECOND),
        max_message=int(_number("SYNCAPP_MAX_MESSAGE", 64 * MIB)),
        window=int(_number("SYNCAPP_WINDOW", 4 * MIB)),
        tombstone_days=int(_number("SYNCAPP_TOMBSTONE_DAYS", 30)),
        log_days=int(_number("SYNCAPP_LOG_DAYS", 30)),
        log_rows=int(_number("SYNCAPP_LOG_ROWS", 100_000)),
    )


def secret_key_is_derived() -> bool:
    """Whether links' secrets are encrypted with Django's SECRET_KEY for want of a key of their own."""
    return not _text("SYNCAPP_SECRET_KEY")


def _raw(name: str) -> Any:
    value = getattr(settings, name, None)
    return os.environ.get(name) if value is None else value


def _text(name: str) -> str:
    value = _raw(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ImproperlyConfigured(f"{name} is {value!r}: set it to a text.")
    return value.strip()


def _number(name: str, default: float) -> float:
    value = _raw(name)
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 < number < float("inf"):
        raise ImproperlyConfigured(
            f"{name} is {value!r}: set it to a number above 0, or leave it out for {default:g}."
        )
    return number


def _patterns() -> tuple[str, ...]:
    value = _raw("SYNCAPP_TABLES")
    if value is None:
        return ()
    if isinstance(value, str):
        # From the environment, where there are no lists.
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ImproperlyConfigured(
            'SYNCAPP_TABLES must be a list of patterns such as ["shop.*", "!shop.Secret"].'
        )
    return tuple(item.strip() for item in value if item.strip())


# -- secrets at rest ----------------------------------------------------------------------------------------


def encrypt(text: str) -> str:
    """Encrypt a secret for the database. Each call gives another token."""
    return _fernet(current().secret_key).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """The text that `encrypt` made ``token`` of.

    Raises ValueError when the key has changed or the token is damaged. Callers turn that into
    `errors.SecretUnreadable`: they know the link.
    """
    try:
        return _fernet(current().secret_key).decrypt(token.encode()).decode()
    except (InvalidToken, UnicodeError) as error:
        raise ValueError("not a secret of this program's key") from error


@lru_cache(maxsize=4)
def _fernet(secret_key: str) -> Fernet:
    # The purpose is part of the derivation: this key is of no use for anything else derived from SECRET_KEY.
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"syncapp: secrets of links").derive(
        secret_key.encode()
    )
    return Fernet(base64.urlsafe_b64encode(key))
