"""Users travel by their names, and are found again by the one that the link goes by.

On the wire a user is ``[login, full name, id]``, as the sender knows them. The receiver finds the user here by the
link's setting, the same on both sides: the login, the full name, or the id. One who is equal to the letter goes before
those who are equal only without regard to case and spaces. Nobody, or several: the value waits, and so does every other
value with that user, until somebody here is created or renamed, or the two are matched by hand (kept per link).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from syncapp.core.keys import fold

LOGIN, FULL_NAME, ID = "login", "full_name", "id"


class Names(NamedTuple):
    """A user as they travel."""

    login: str
    full_name: str
    id: str

    def text(self) -> str:
        """For people: ``anna (Anna K., ID 7)``."""
        known = ", ".join(part for part in (self.full_name, f"ID {self.id}" if self.id else "") if part)
        return f"{self.login} ({known})" if known else self.login


class UserMatch(msgspec.Struct, frozen=True):
    """A user of a peer and who it is here: ``user``, a local key; empty: nobody, or ``several``.

    ``digest`` names the user on the link; ``manual``: matched by hand.
    """

    link: int
    digest: bytes
    matching: str
    names: Names
    user: str = ""
    several: int = 0
    manual: bool = False


class UserTables(Protocol):
    """What a backend knows of users."""

    def users(self, keys: Collection[str]) -> dict[str, Names]:
        """The names of local users by key; only of those who exist."""
        ...

    def find_users(self, matching: str, wanted: Collection[str]) -> dict[str, list[str]]:
        """Keys of the local users whose login, full name or id is each of ``wanted``; see `same_people`."""
        ...

    def user_matches(self, link: int, digests: Collection[bytes]) -> dict[bytes, UserMatch]:
        """What is known of these users of the link's peer."""
        ...

    def save_user_matches(self, matches: Collection[UserMatch]) -> None:
        """Insert or, by (link, digest), replace."""
        ...


def names_of(value: Any) -> Names | None:
    """A user on the wire; None where that is no user."""
    if not isinstance(value, list | tuple) or len(value) != len(Names._fields):
        return None
    return Names(*value) if all(isinstance(part, str) and "\0" not in part for part in value) else None


def wanted_of(matching: str, names: Names) -> str:
    """The name that counts on a link that goes by ``matching``."""
    return {LOGIN: names.login, FULL_NAME: names.full_name, ID: names.id}[matching]


def digest_of(matching: str, names: Names) -> bytes:
    """What names a user on a link: 16 bytes. Users without the name that counts are told apart by all they have."""
    wanted = fold(wanted_of(matching, names))
    parts = (matching, wanted) if wanted else (matching, "", *names)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()


def same_people(
    matching: str, wanted: Collection[str], users: Iterable[tuple[str, str]]
) -> dict[str, list[str]]:
    """Of ``users`` (key, name that counts), those whose name is each of ``wanted``; only names that somebody has."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for name in wanted:
        key = name if matching == ID else fold(name)
        if key:
            by_name[key].append(name)
    equal: dict[str, list[str]] = defaultdict(list)
    alike: dict[str, list[str]] = defaultdict(list)
    for user, has in users:
        for name in by_name.get(has if matching == ID else fold(has), ()):
            (equal if has == name else alike)[name].append(user)
    return {name: equal[name] if name in equal else alike[name] for name in {*equal, *alike}}


class UserFinder:
    """Finds, once per batch, who the users of incoming values are here; notes who they were."""

    def __init__(self, tables: UserTables, link: int, matching: str) -> None:
        self._tables = tables
        self._link = link
        self._matching = matching
        self._known: dict[bytes, UserMatch] = {}

    def learn(self, values: Iterable[Any]) -> None:
        """Look up the users in ``values``."""
        people = {digest_of(self._matching, names): names for value in values if (names := names_of(value))}
        new = {digest: names for digest, names in people.items() if digest not in self._known}
        if not new:
            return
        before = self._tables.user_matches(self._link, new)
        by_hand = self._tables.users({known.user for known in before.values() if known.manual})
        manual = {digest for digest, known in before.items() if known.manual and known.user in by_hand}
        found = self._find({digest: names for digest, names in new.items() if digest not in manual})
        found |= {digest: msgspec.structs.replace(before[digest], names=new[digest]) for digest in manual}
        self._known |= found
        changed = [match for digest, match in found.items() if before.get(digest) != match]
        if changed:
            self._tables.save_user_matches(changed)

    def _find(self, people: Mapping[bytes, Names]) -> dict[bytes, UserMatch]:
        names = {digest: wanted_of(self._matching, user) for digest, user in people.items()}
        keys = self._tables.find_users(self._matching, set(names.values())) if names else {}
        found = {}
        for digest, user in people.items():
            here = keys.get(names[digest], [])
            one, several = (here[0], 0) if len(here) == 1 else ("", len(here))
            found[digest] = UserMatch(self._link, digest, self._matching, user, one, several)
        return found

    def match(self, value: Any) -> UserMatch | None:
        """Who a user on the wire is here, after `learn`; None where the value is no user."""
        names = names_of(value)
        return None if names is None else self._known.get(digest_of(self._matching, names))
