"""SCRAM-SHA-256 (RFC 5802, RFC 7677) between two programs: each proves to the other that it knows the link's
password.

The passive side keeps, per link, a `Verifier` made of the password and the instance's salt. One challenge
serves all links of an instance, since they share salt and iteration count: an active program that gives no
link code is recognised by whose password its proof was made with.

Everything here is plain computing. `derive` and `ActiveAuth.proof` take milliseconds of CPU: call them off
the event loop. Nothing here waits, stores or looks at a clock; `Throttle` is told the time.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any

from scramp import ScramClient, ScramException, ScramMechanism

from syncapp import details
from syncapp.errors import (
    AmbiguousLink,
    ConfigError,
    Impostor,
    Locked,
    Malformed,
    NoPassiveLink,
    ProtocolError,
    SyncError,
    UnknownLinkCode,
    WrongPassword,
)

MECHANISM = "SCRAM-SHA-256"
#: Links are told apart by code or password, not by user name.
USERNAME = "syncapp"
ITERATIONS = 15_000
MIN_ITERATIONS = 4096
#: A stranger must not make us compute for minutes.
MAX_ITERATIONS = 200_000
MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Verifier:
    """What the passive side needs to check a proof. Whoever steals it can pretend to be the passive side, no
    more.
    """

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return f"Verifier(iterations={self.iterations})"  # keys do not belong into logs

    def to_text(self) -> str:
        """As text, to keep; PostgreSQL's notation."""
        salt, stored, server = (
            base64.b64encode(v).decode() for v in (self.salt, self.stored_key, self.server_key)
        )
        return f"{MECHANISM}${self.iterations}:{salt}${stored}:{server}"

    @classmethod
    def from_text(cls, text: str) -> Verifier:
        """Raises ValueError for anything that `to_text` did not make."""
        try:
            mechanism, parameters, keys = text.split("$")
            iterations, salt = parameters.split(":")
            stored, server = (base64.b64decode(v, validate=True) for v in keys.split(":"))
            made = cls(base64.b64decode(salt, validate=True), int(iterations), stored, server)
        except (ValueError, binascii.Error):
            raise ValueError("not a verifier") from None
        if mechanism != MECHANISM or len(stored) != 32 or len(server) != 32:
            raise ValueError("not a verifier")
        return made


def derive(password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """The verifier of ``password``. CPU-heavy. Raises `ConfigError` for one that SCRAM cannot carry."""
    try:
        made = ScramMechanism(MECHANISM).make_auth_info(
            _password(password), iteration_count=iterations, salt=salt
        )
    except ScramException as error:
        raise _unusable(error) from None
    salt, stored_key, server_key, iterations = made
    return Verifier(salt, iterations, stored_key, server_key)


def _password(password: str) -> str:
    if not password:
        raise ConfigError(detail=details.NO_PASSWORD)
    return password


def _unusable(error: ScramException) -> ConfigError:
    return ConfigError(detail=f"the password of the link cannot be used: {error.args[0]}")


class ActiveAuth:
    """The active side of one log-in: `first`, `proof`, `check`, in this order."""

    def __init__(self, password: str) -> None:
        try:
            self._client = ScramClient([MECHANISM], USERNAME, _password(password))
        except ScramException as error:
            raise _unusable(error) from None

    def first(self) -> str:
        """The opening message."""
        return str(self._client.get_client_first())

    def proof(self, server_first: str) -> str:
        """The answer to the challenge. CPU-heavy. Raises `ProtocolError` for a challenge that asks too much
        or too little.
        """
        _check_length(server_first)
        try:
            self._client.set_server_first(server_first)
            iterations = int(self._client.iterations)
            if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
                raise ProtocolError(detail=f"{iterations} iterations for the password")
            return str(self._client.get_client_final())
        except ScramException as error:
            raise _malformed(error) from None

    def check(self, server_final: str) -> None:
        """Raise `Impostor` unless the passive side knows the password too."""
        _check_length(server_final)
        try:
            self._client.set_server_final(server_final)
        except ScramException:
            raise Impostor from None


class PassiveAuth:
    """The passive side of one log-in: `challenge`, then `verify`.

    ``candidates``: (link id, verifier) of the link with the code that was given, or of all passive links that
    are switched on. Raises `UnknownLinkCode` or `NoPassiveLink` when there are none: a code is a random
    number of 128 bits, so that saying that it is unknown tells nobody anything.
    """

    def __init__(
        self, candidates: Sequence[tuple[int, Verifier]], client_first: str, *, code: str = ""
    ) -> None:
        if not candidates:
            raise UnknownLinkCode if code else NoPassiveLink
        if len({(verifier.salt, verifier.iterations) for _, verifier in candidates}) != 1:
            raise ValueError("the links of an instance share salt and iteration count")
        _check_length(client_first)
        nonce = token_urlsafe(24)
        self._servers = [
            (link_id, _server(verifier, nonce, client_first)) for link_id, verifier in candidates
        ]

    def challenge(self) -> str:
        """The message that asks for the proof: the same whichever link it turns out to be."""
        challenges = {str(server.get_server_first()) for _, server in self._servers}
        return challenges.pop()  # one: salt, iterations and nonces are the same for all

    def verify(self, client_final: str) -> tuple[int, str]:
        """The link whose password was proved, and the proof for the active side.

        Raises `WrongPassword` (also for a proof that was made for another challenge) or `AmbiguousLink`.
        Every candidate is tried, so that the time taken does not tell which one it was.
        """
        _check_length(client_final)
        matching = [(link_id, server) for link_id, server in self._servers if _proves(server, client_final)]
        if not matching:
            raise WrongPassword
        if len(matching) > 1:
            raise AmbiguousLink
        link_id, server = matching[0]
        return link_id, str(server.get_server_final())


def _server(verifier: Verifier, nonce: str, client_first: str) -> Any:
    """scramp's server for one candidate, with the client's opening message taken."""
    info = (verifier.salt, verifier.stored_key, verifier.server_key, verifier.iterations)
    server = ScramMechanism(MECHANISM).make_server(
        lambda user: info if user == USERNAME else None, s_nonce=nonce
    )
    try:
        server.set_client_first(client_first)
    except ScramException as error:
        raise _malformed(error) from None
    return server


def _proves(server: Any, client_final: str) -> bool:
    try:
        server.set_client_final(client_final)
    except ScramException:
        return False
    return True


def _check_length(message: str) -> None:
    if len(message) > MAX_MESSAGE:
        raise Malformed(detail="a log-in message that long")


def _malformed(error: ScramException) -> SyncError:
    return Malformed(detail=f"log-in: {error.args[0]}")


# -- slowing down whoever guesses ----------------------------------------------------------------------------

LONGEST_DELAY = 60
FORGET_AFTER = 15 * 60
MOST_KEYS = 10_000


def delay(failures: int) -> int:
    """Seconds to wait after so many failures in a row: 0, 0, 1, 2, 4 … 60."""
    return min(2 ** min(failures - 2, 10), LONGEST_DELAY) if failures >= 2 else 0


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Throttle:
    """Counts failed log-ins by key: a link, a remote address. Bounded in memory; forgets after a quiet
    quarter hour.

    ``now`` is any clock in seconds that does not run backwards.
    """

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        self._most_keys = most_keys
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()  # attempts are looked at in several threads

    def wait(self, key: str, now: float) -> float:
        """Seconds until the next attempt of ``key`` is taken; 0 = at once."""
        known = self._failures.get(key)
        if known is None or now - known.last > FORGET_AFTER:
            return 0
        return max(0.0, known.last + delay(known.count) - now)

    def check(self, keys: Sequence[str], now: float) -> None:
        """Raise `Locked` while any of ``keys`` has to wait."""
        longest = max((self.wait(key, now) for key in keys), default=0)
        if longest > 0:
            raise Locked(seconds=int(longest) + 1)

    def failed(self, keys: Sequence[str], now: float) -> None:
        """An attempt failed. Call it as an attempt begins, and `succeeded` later, to count those under way as
        well.
        """
        with self._lock:
            for key in keys:
                known = self._failures.pop(key, None)
                if known is None or now - known.last > FORGET_AFTER:
                    known = _Failures(0, now)
                known.count += 1
                known.last = now
                self._failures[key] = known
            while len(self._failures) > self._most_keys:
                self._failures.popitem(last=False)

    def succeeded(self, keys: Sequence[str]) -> None:
        """The password was right: start from nought."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)


def address_key(remote: str) -> str:
    """What a remote address counts as: itself, or the /64 that one IPv6 host has to itself."""
    try:
        ip = ipaddress.ip_address(remote)
    except ValueError:
        return remote
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
