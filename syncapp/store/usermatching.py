"""Who the users of a peer are here, for people: what was found, who is missing, and matching by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Count

from syncapp.errors import AmbiguousUser, UnknownLocalUser, UnknownPeerUser, UnknownUser
from syncapp.models import Link, Problem, UserMatch
from syncapp.store import texts
from syncapp.store.people import LOGIN, Names, digest_of, wanted_of
from syncapp.store.sql.database import Database
from syncapp.store.sql.people import People

CODES = (UnknownUser.code, AmbiguousUser.code)
#: Most names that an error lists.
_OFFER = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class UserLine:
    """A user of the peer.

    ``state``: matched, manual (by hand), unmatched or ambiguous; ``waiting``: how many records wait for this one.
    """

    id: int
    login: str
    full_name: str
    peer_id: str
    state: str
    #: Login and key of the user here; empty where there is none.
    user: str
    user_id: str
    #: How many users here it may be, where they are several.
    several: int
    waiting: int


def user_lines(link: int, using: str = "default") -> list[UserLine]:
    """Every user of the link's peer who came along in a value, those that need somebody first."""
    matching = Link.objects.using(using).values_list("user_matching", flat=True).get(pk=link)
    rows = list(UserMatch.objects.using(using).filter(link=link, matching=matching))
    waiting = _waiting(link, using)
    people = People(Database(using))
    # As it is now, not as it was when the user last came along: somebody may have been created since.
    wanted = {row.pk: wanted_of(matching, _names(row)) for row in rows if not row.manual}
    found = people.find(matching, {name for name in wanted.values() if name}) if wanted else {}
    here = {row.pk: [row.user] if row.manual else found.get(wanted[row.pk], []) for row in rows}
    logins = people.names({key for keys in here.values() for key in keys})
    lines = [_line(row, here[row.pk], logins, waiting.get(bytes(row.digest), 0)) for row in rows]
    return sorted(lines, key=lambda line: (-line.waiting, line.state != "unmatched", line.login, line.id))


def _line(row: UserMatch, here: list[str], logins: dict[str, Names], waiting: int) -> UserLine:
    here = [key for key in here if key in logins]
    one = here[0] if len(here) == 1 else ""
    state = "manual" if one and row.manual else "matched" if one else "ambiguous" if here else "unmatched"
    return UserLine(
        id=row.pk,
        login=texts.inert(row.login),
        full_name=texts.inert(row.full_name),
        peer_id=texts.inert(row.peer_id),
        state=state,
        user=logins[one].login if one else "",
        user_id=one,
        several=len(here) if len(here) > 1 else 0,
        waiting=waiting,
    )


def _names(row: UserMatch) -> Names:
    return Names(row.login, row.full_name, row.peer_id)


def _waiting(link: int, using: str) -> dict[bytes, int]:
    rows = Problem.objects.using(using).filter(link=link, code__in=CODES, waits_for__isnull=False)
    counted = rows.values("waits_for").annotate(records=Count("uid", distinct=True)).order_by()
    return {bytes(row["waits_for"] or b""): row["records"] for row in counted}


def match_user(link: Link, who: str, user: str, using: str = "default") -> int:
    """Match the peer's user ``who`` (a number of `user_lines`, or a login) to the one here whose login is ``user``.

    Kept for this link. Says how many problems that makes due. Raises `UnknownPeerUser`, `UnknownLocalUser`.
    """
    model = get_user_model()
    local = model._base_manager.using(using).filter(**{model.USERNAME_FIELD: user}).first()
    if local is None:
        raise UnknownLocalUser(user=user)
    with transaction.atomic(using=using):
        row = _find(link, who, using)
        row.user, row.several, row.manual = str(local.pk), 0, True
        row.save(using=using)
        return _due(link.pk, [bytes(row.digest)], using)


def unmatch_user(link: Link, who: str, using: str = "default") -> int:
    """Forget a match by hand; values that are applied already stay. Says how many problems that makes due."""
    with transaction.atomic(using=using):
        row = _find(link, who, using)
        row.user, row.several, row.manual = "", 0, False
        row.save(using=using)
        return _due(link.pk, [bytes(row.digest)], using)


def _find(link: Link, who: str, using: str) -> UserMatch:
    rows = UserMatch.objects.using(using).filter(link=link, matching=link.user_matching)
    found = rows.filter(pk=int(who)) if who.isdecimal() and who.isascii() else rows.none()
    row = found.first() or rows.filter(login=who).order_by("pk").first()
    if row is not None:
        return row
    if link.user_matching == LOGIN and who and not who.isdecimal():
        # Nobody has to wait until the user comes along.
        names = Names(who, "", "")
        return UserMatch(link=link, digest=digest_of(LOGIN, names), matching=LOGIN, login=who)
    known = [texts.inert(login) for login in rows.order_by("login").values_list("login", flat=True)[:_OFFER]]
    raise UnknownPeerUser(link=link.name, user=who, offer=", ".join(known) or "–")


def _due(link: int, digests: Iterable[bytes], using: str) -> int:
    rows = Problem.objects.using(using).filter(link=link, code__in=CODES, waits_for__in=list(digests))
    return rows.update(next_try=0)


def retry_users(using: str = "default") -> int:
    """Somebody was created or renamed here: whatever waits for a user is due."""
    return Problem.objects.using(using).filter(code__in=CODES).update(next_try=0)
