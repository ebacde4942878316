"""The address of another program as people write it, and the link code that may follow it.

Accepted: the address of the site (``https://office.example.com``, with a port, with a path in front of the
site), also with ``ws://`` or ``wss://``; behind it, optionally, the link's code: after a space, as the last
part of the path, or as the passive side shows it (``…/sync/peer/<code>/``).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from syncapp.errors import BadAddress

PEER_PATH = "/sync/peer/"
#: As long as the column that keeps it.
MAX_LENGTH = 500

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_CODE_LENGTH = 26  # 128 bits
_MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0", "-": "", " ": ""})
_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


def encode_code(raw: bytes) -> str:
    """The code of 16 random bytes, as links keep it: 26 characters that survive being read out on the
    telephone.
    """
    if len(raw) != 16:
        raise ValueError("a link code has 16 bytes")
    number = int.from_bytes(raw, "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_CODE_LENGTH - 1), -1, -5))


def normal_code(text: str) -> str | None:
    """``text`` as a link code in its one form, or None if it is none. Case, dashes, spaces, I/L/O do not
    matter.
    """
    if not text.isascii():
        return None
    code = text.upper().translate(_MISREAD)
    # 26 × 5 bits hold two more than 128: a first character above 7 would name no 16 bytes.
    if len(code) != _CODE_LENGTH or code[0] > "7" or not set(code) <= set(_ALPHABET):
        return None
    return code


@dataclass(frozen=True, slots=True)
class Address:
    """Where a program is: a site, and the link's code if one was given.

    ``prefix``: the path in front of the site, empty or ``/…`` without a slash at its end.
    """

    secure: bool
    host: str
    port: int
    prefix: str = ""
    code: str = ""

    @property
    def netloc(self) -> str:
        """Host and port, the port only where it is not the scheme's own; IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def site(self) -> str:
        """The site, for people. Never contains the code."""
        return f"{'https' if self.secure else 'http'}://{self.netloc}{self.prefix}"

    @property
    def url(self) -> str:
        """The websocket to dial."""
        tail = f"{self.code}/" if self.code else ""
        return f"{'wss' if self.secure else 'ws'}://{self.netloc}{self.prefix}{PEER_PATH}{tail}"

    def __str__(self) -> str:
        return self.site


def parse_address(text: str) -> Address:
    """Read an address that a person wrote. Raises `BadAddress`, which names what is wrong with it."""
    written = text.strip()
    try:
        return _parse(written)
    except ValueError as error:
        shown = "".join(c if c.isprintable() else "?" for c in written[:120])
        raise BadAddress(address=shown, detail=str(error)) from None


def _parse(written: str) -> Address:
    if not written:
        raise ValueError("it is empty")
    if len(written) > MAX_LENGTH:
        raise ValueError(f"it is longer than {MAX_LENGTH} characters")
    url, *rest = written.split(maxsplit=1)
    # urlsplit drops some control characters silently, and browsers read "\" as "/": neither may get that far.
    if not url.isprintable() or "\\" in url:
        raise ValueError("it contains characters that no address has")
    secure, host, port, path = _split(url)
    prefix, code = _split_path(path)
    if rest:
        if code:
            raise ValueError("it contains two link codes")
        code = _code(rest[0])
    return Address(secure, host, port, prefix, code)


def _split(url: str) -> tuple[bool, str, int, str]:
    if "://" not in url:
        raise ValueError("it does not start with https:// or http://")
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError("it does not start with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("a name or password does not belong into it")
    if "?" in url or "#" in url:
        raise ValueError("leave out what follows ? or #")
    secure = _SCHEMES[parts.scheme]
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        if parts.netloc.endswith(":"):
            raise ValueError("the port is missing")
        port = 443 if secure else 80
    if not 1 <= port <= 65535:
        raise ValueError("the port must be a number from 1 to 65535")
    return secure, _host(parts.hostname or ""), port, parts.path


def _host(name: str) -> str:
    if not name:
        raise ValueError("the host is missing")
    if ":" in name:
        if "%" in name:
            raise ValueError("an IPv6 address with a zone is not allowed")
        return ipaddress.IPv6Address(name).compressed
    try:
        ascii_name = name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise ValueError("the host is not a valid name") from None
    if len(ascii_name) > 253 or not _HOST.fullmatch(ascii_name):
        raise ValueError("the host is not a valid name")
    return ascii_name


def _split_path(path: str) -> tuple[str, str]:
    """The path's prefix and code, with the peers' own path taken off."""
    path = path.rstrip("/")
    if not _PATH.fullmatch(path) or any(part.strip(".") == "" for part in path.split("/")[1:]):
        raise ValueError("its path cannot be read")
    head, _, last = path.rpartition("/")
    peer = PEER_PATH.rstrip("/")
    if path.endswith(peer):
        return path.removesuffix(peer), ""
    if head.endswith(peer):
        return head.removesuffix(peer), _code(last)
    code = normal_code(last)
    return (head, code) if code else (path, "")


def _code(text: str) -> str:
    code = normal_code(text)
    if code is None:
        raise ValueError("what follows it is not a link code; a code has 26 letters and digits")
    return code
