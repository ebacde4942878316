# ruff: noqa: S608 - statements are made of constants, values are parameters
"""The users of the program, and those of peers who were met in values."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from syncapp.store.people import ID, LOGIN, Names, UserMatch, same_people
from syncapp.store.sql.database import Database, Row

_COLUMNS = '"link_id", "digest", "matching", "login", "full_name", "peer_id", "user", "several", "manual"'
_READ = f'SELECT {_COLUMNS} FROM "syncapp_usermatch" WHERE "link_id" = %s AND "digest" IN {{}}'
_SAVE = (
    f'INSERT INTO "syncapp_usermatch" ({_COLUMNS}) VALUES ({", ".join(["%s"] * 9)}) '
    'ON CONFLICT ("link_id", "digest") DO UPDATE SET '
    + ", ".join(
        f'"{column}" = excluded."{column}"'
        for column in ("matching", "login", "full_name", "peer_id", "user", "several", "manual")
    )
)
#: Longer names are kept cut.
NAME = 300


class People:
    """Users by key and by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def names(self, keys: Collection[str]) -> dict[str, Names]:
        """Names of local users."""
        rows = self._users().filter(pk__in=self._keys(keys)) if keys else ()
        return {str(user.pk): _names(user) for user in rows}

    def find(self, matching: str, wanted: Collection[str]) -> dict[str, list[str]]:
        """See `UserTables.find_users`."""
        if matching == ID:
            rows = self._users().filter(pk__in=self._keys(wanted)).values_list("pk", flat=True)
            return {str(pk): [str(pk)] for pk in rows}
        if matching != LOGIN:
            everybody = self._users().iterator(chunk_size=2000)
            return same_people(
                matching, wanted, ((str(user.pk), _names(user).full_name) for user in everybody)
            )
        login = get_user_model().USERNAME_FIELD
        exact = self._logins(self._users().filter(**{f"{login}__in": list(wanted)}))
        found = same_people(matching, wanted, exact)
        rest = [name for name in wanted if name not in found]
        # Few programs have so many users that one look at all of them counts, and only unknown ones cause it.
        return found | same_people(matching, rest, self._logins(self._users())) if rest else found

    def _users(self) -> Any:
        return get_user_model()._base_manager.using(self._database.using)

    def _logins(self, rows: Any) -> Iterable[tuple[str, str]]:
        pairs = rows.values_list("pk", get_user_model().USERNAME_FIELD).iterator(chunk_size=2000)
        return ((str(pk), str(login)) for pk, login in pairs)

    def _keys(self, texts: Collection[str]) -> list[Any]:
        """Keys as the column has them; a peer's may be of another kind, and then it is nobody's here."""
        field, found = get_user_model()._meta.pk, []
        for text in texts:
            try:
                key = field.to_python(text)
            except ValidationError:
                continue
            if str(key) == text:
                found.append(key)
        return found

    # -- users of peers --

    def matches(self, link: int, digests: Collection[bytes]) -> dict[bytes, UserMatch]:
        rows = map(_match, self._database.query_in(_READ, digests, [link]))
        return {match.digest: match for match in rows}

    def save(self, matches: Collection[UserMatch]) -> None:
        self._database.many(_SAVE, [_values(match) for match in matches])


def _names(user: Any) -> Names:
    full = getattr(user, "get_full_name", None)
    return Names(user.get_username(), str(full() or "") if full else "", str(user.pk))


def _match(row: Row) -> UserMatch:
    link, digest, matching, login, full_name, peer_id, user, several, manual = row
    names = Names(login, full_name, peer_id)
    return UserMatch(link, bytes(digest), matching, names, user, several, bool(manual))


def _values(match: UserMatch) -> tuple[Any, ...]:
    m, names = match, [part[:NAME] for part in match.names]
    return (m.link, m.digest, m.matching, *names, m.user, m.several, m.manual)
