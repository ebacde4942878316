"""The links as configured, for the engine; and what is noted of a link that nobody drives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from syncapp import conf, errors
from syncapp.core.address import normal_code
from syncapp.core.mapping import Catalogue
from syncapp.core.rules import SIDED
from syncapp.engine.auth import Verifier, derive
from syncapp.models import Instance, Link, LinkState
from syncapp.store.base import LinkStatus
from syncapp.store.store import Store

SECOND = 1_000_000


class LinkConfig(msgspec.Struct, frozen=True):
    """One link as configured. ``print`` changes when anything does that a running conversation rests on."""

    id: int
    name: str
    mode: str
    address: str
    code: str
    secret: str
    paused: bool
    interval: float
    user_matching: str
    options: dict[str, Any]
    print: str

    @property
    def active(self) -> bool:
        return self.mode == Link.Mode.ACTIVE

    def password(self) -> str:
        """The password in the clear. Raises `errors.SecretUnreadable`."""
        return _password(self.name, self.secret)


def _password(name: str, secret: str) -> str:
    try:
        return conf.decrypt(secret)
    except ValueError as error:
        raise errors.SecretUnreadable(link=name) from error


def load(store: Store) -> dict[int, LinkConfig]:
    """All links by id."""
    return {link.pk: _config(store, link) for link in Link.objects.using(store.using).order_by("pk")}


def _config(store: Store, link: Link) -> LinkConfig:
    catalogue = msgspec.msgpack.encode(_agreed_on(store.backend.catalogue(link.pk)))
    setup = store.backend.setup()
    known = repr(
        (
            link.name,
            link.mode,
            link.address,
            link.code,
            link.secret,
            link.paused,
            link.interval,
            link.user_matching,
            link.options,
            setup.links.get(link.pk),
            setup.series,
            store.backend.instance().origin,
        )
    )
    digest = hashlib.blake2b(catalogue + known.encode(), digest_size=16).hexdigest()
    return LinkConfig(
        id=link.pk,
        name=link.name,
        mode=link.mode,
        address=link.address,
        code=link.code,
        secret=link.secret,
        paused=link.paused,
        interval=link.interval,
        user_matching=link.user_matching,
        options=link.options,
        print=digest,
    )


def _agreed_on(catalogue: Catalogue) -> Catalogue:
    """The catalogue without what no agreement rests on: other links matter only to policies that name a side."""
    replace = msgspec.structs.replace
    return tuple(
        replace(table, fields=tuple(replace(f, hub=f.hub and f.policy in SIDED) for f in table.fields))
        for table in catalogue
    )


def config_version(store: Store) -> int:
    """Moves with every change of configuration or catalogue."""
    return Instance.objects.using(store.using).values_list("config_version", flat=True).first() or 0


def lease_owner(store: Store, link: int) -> str:
    """Who holds the lease of ``link``; empty for nobody."""
    owners = LinkState.objects.using(store.using).filter(pk=link).values_list("lease_owner", flat=True)
    return owners.first() or ""


_verifiers: dict[tuple[str, bytes], Verifier] = {}


def verifier(candidate: Candidate, salt: bytes) -> Verifier:
    """What checks a proof of the link's password; derived once per secret. CPU-heavy the first time."""
    key = (candidate.secret, salt)
    found = _verifiers.get(key)
    if found is None:
        found = _verifiers[key] = derive(_password(candidate.name, candidate.secret), salt)
        if len(_verifiers) > 10_000:
            _verifiers.pop(next(iter(_verifiers)))
    return found


def verifiers(store: Store, found: Sequence[Candidate]) -> list[tuple[int, Verifier]]:
    """What checks a proof for each of ``found``.

    A link whose password cannot be used shows it and is left out, so that it does not shut out the others; raises
    its error if none is left.
    """
    salt = scram_salt(store)
    usable: list[tuple[int, Verifier]] = []
    faults: list[errors.SyncError] = []
    for link in found:
        try:
            usable.append((link.id, verifier(link, salt)))
        except errors.SyncError as error:
            faults.append(error)
            note(store, link.id, status_of(error))
    if faults and not usable:
        raise faults[0]
    return usable


def load_one(store: Store, link: int) -> LinkConfig:
    """One link. Raises `errors.LinkPaused` if it was removed or paused meanwhile."""
    found = Link.objects.using(store.using).filter(pk=link, paused=False).first()
    if found is None:
        raise errors.LinkPaused()
    return _config(store, found)


class Candidate(msgspec.Struct, frozen=True):
    """A passive link that an incoming conversation may belong to."""

    id: int
    name: str
    secret: str


def candidates(store: Store, code: str) -> list[Candidate]:
    """The passive links that an incoming conversation may belong to: the one of ``code``, or all.

    Raises `errors.LinkPaused` when the one that is meant is paused.
    """
    passive = Link.objects.using(store.using).filter(mode=Link.Mode.PASSIVE)
    if code:
        passive = passive.filter(code=normal_code(code) or "")
    rows = list(passive.values_list("pk", "name", "secret", "paused"))
    running = [Candidate(pk, name, secret) for pk, name, secret, paused in rows if not paused]
    if rows and not running:
        raise errors.LinkPaused()
    return running


def scram_salt(store: Store) -> bytes:
    """The salt that all passive links of this instance share."""
    return bytes(Instance.objects.using(store.using).values_list("scram_salt", flat=True).get())


def tells(error: errors.SyncError) -> bool:
    """Whether a failed attempt to log in is worth showing: refusals are, a stranger's noise is not."""
    quiet = errors.Locked | errors.Superseded | errors.LinkPaused
    return isinstance(error, errors.RefusedError) and not isinstance(error, quiet)


def note_failure(store: Store, code: str, error: errors.SyncError) -> None:
    """Show a failed attempt on the passive link that it was meant for, if that is plain and it is not connected."""
    try:
        meant = candidates(store, code)
    except errors.LinkPaused:
        return
    now = store.backend.now()
    states = LinkState.objects.using(store.using).filter(link__in=[link.id for link in meant])
    idle = [state.pk for state in states if state.lease_until < now or state.state != "connected"]
    if len(idle) == 1:
        note(store, idle[0], status_of(error))


def note(store: Store, link: int, status: LinkStatus) -> None:
    """Show ``status`` on a link that nobody drives; nothing happens if it was removed meanwhile."""
    state = LinkState.objects.using(store.using).filter(pk=link).first()
    if state is None:
        return
    fields = {"reason_code": status.code, "reason_params": status.params, "attempt": status.attempt}
    if state.state != status.state:
        fields |= {"state": status.state, "state_since": store.backend.now()}
    LinkState.objects.using(store.using).filter(pk=link).update(next_attempt=status.next_attempt, **fields)


#: Errors that a person has to act on although nobody refused anything.
_ATTENTION = (
    errors.OtherInstance,
    errors.SameInstance,
    errors.Twin,
    errors.BehindDeletions,
    errors.SecretUnreadable,
    errors.BadAddress,
    errors.BadCertificate,
    errors.PlainTextRefused,
    errors.ConfigError,
)


def status_of(error: errors.SyncError, attempt: int = 0, next_attempt: int = 0) -> LinkStatus:
    """The state that a link is in after its conversation ended (or failed to begin) with ``error``."""
    if isinstance(error, errors.LinkPaused):
        state = "paused"
    elif isinstance(error, _ATTENTION):
        state = "attention"
    elif isinstance(error, errors.RefusedError) and error.permanent:
        state = "refused"
    else:
        state = "connecting" if next_attempt else "offline"
    params = {
        key: value if isinstance(value, str | int | float) else str(value)
        for key, value in error.params.items()
    }
    # Whoever paused the link here needs no reason, and after it is resumed none may be left over.
    code = "" if isinstance(error, errors.LinkPausedHere) else error.code
    return LinkStatus(state, code, params, attempt, next_attempt)
