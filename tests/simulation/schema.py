"""The tables that simulated programs share, and each program's own numbers for them.

Every program numbers its tables and fields differently, so that a mixed-up number cannot stay unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from syncapp.core.mapping import Catalogue, Direction, FieldOffer, FieldType, Kind, TableOffer
from syncapp.store.base import FieldInfo, LinkInfo, Setup, TableInfo

Key: TypeAlias = tuple[str, str]
Ways: TypeAlias = Mapping[Key, Direction]


class Spec(NamedTuple):
    """A field, as every program has it. ``way``: direction as seen from the active program."""

    name: str
    kind: Kind = Kind.TEXT
    way: Direction = Direction.BOTH
    target: str = ""
    required: bool = False
    unique: bool = False

    @property
    def structural(self) -> bool:
        """A record does not travel without it."""
        return self.required or self.unique


CLIENT = (
    Spec("code", unique=True),
    Spec("name"),
    Spec("phone", way=Direction.UPLOAD),
    Spec("source", way=Direction.DOWNLOAD),
    Spec("note"),
    Spec("parent", Kind.RELATION, target="client"),
    Spec("tags", Kind.RELATIONS, target="tag"),
)
TAG = (Spec("title"), Spec("label", unique=True))
ORDER = (
    Spec("number", unique=True),
    Spec("subject"),
    Spec("client", Kind.RELATION, target="client", required=True),
    Spec("payer", Kind.RELATION, target="client"),
)
TABLES: dict[str, tuple[Spec, ...]] = {"client": CLIENT, "tag": TAG, "order": ORDER}
MATCH_BY = {"client": ("code",)}
SPECS = {(table, spec.name): spec for table, specs in TABLES.items() for spec in specs}


class Numbers:
    """One program's numbers: ``table["client"]``, ``field["client", "name"]`` and back."""

    def __init__(self, instance: int) -> None:
        names = list(TABLES) if instance % 2 == 0 else list(reversed(TABLES))
        self.table = {name: 10 * (instance + 1) + i for i, name in enumerate(names)}
        keys = [(table, spec.name) for table in names for spec in TABLES[table]]
        self.field = {key: 100 * (instance + 1) + i for i, key in enumerate(keys)}
        self.table_name = {number: name for name, number in self.table.items()}
        self.key = {number: key for key, number in self.field.items()}

    def setup(
        self, links: tuple[int, ...], mapped: Mapping[int, Ways] | None = None, *, log: bool = True
    ) -> Setup:
        """The program's configuration with these links. ``mapped``: link → the directions of this program's mapping
        as seen from here; without it all tables are exchanged both ways."""
        match_by = {
            self.table[table]: tuple(self.field[table, name] for name in names)
            for table, names in MATCH_BY.items()
        }
        known = mapped or {link: dict.fromkeys(SPECS, Direction.BOTH) for link in links}
        sent = {link: frozenset(self._numbers(ways, sends=True)) for link, ways in known.items()}
        return Setup(
            version=1,
            tables={self.table[name]: self._table(name) for name in TABLES},
            links={link: LinkInfo(link, f"link {link}", log=log, match_by=match_by) for link in links},
            captured=frozenset(n for ways in known.values() for n in self._numbers(ways, sends=False)),
            logged=sent if log else {},
        )

    def _numbers(self, ways: Ways, *, sends: bool) -> list[int]:
        """The fields that are mapped, or only those that are sent."""
        return [
            self.field[key] for key, way in ways.items() if (way.sends if sends else way != Direction.OFF)
        ]

    def _table(self, name: str) -> TableInfo:
        fields = {}
        for spec in TABLES[name]:
            number = self.field[name, spec.name]
            kind = FieldType(spec.kind, null=not spec.required)
            target = self.table[spec.target] if spec.target else 0
            fields[number] = FieldInfo(number, spec.name, kind, target, spec.required)
        return TableInfo(self.table[name], f"crm.{name}", name, fields)

    def catalogue(self, *, active: bool, ways: Ways | None = None) -> Catalogue:
        """What the program announces on a link of which it is the active or the passive side.

        ``ways``: the directions as seen from the active program, where they are not those of the fields.
        """
        return tuple(
            TableOffer(
                self.table[name],
                f"crm.{name}",
                name,
                tuple(
                    self._offer(name, spec, active=active, way=(ways or {}).get((name, spec.name), spec.way))
                    for spec in specs
                ),
            )
            for name, specs in TABLES.items()
        )

    def _offer(self, table: str, spec: Spec, *, active: bool, way: Direction) -> FieldOffer:
        up, down = way.sends, way.receives
        sends, receives = (up, down) if active else (down, up)
        kind = FieldType(spec.kind, null=not spec.required)
        return FieldOffer(self.field[table, spec.name], spec.name, spec.name, kind, sends, receives)

    def unique(self) -> dict[int, tuple[int, ...]]:
        """table number → fields whose values must differ."""
        return {
            self.table[table]: tuple(self.field[table, spec.name] for spec in specs if spec.unique)
            for table, specs in TABLES.items()
        }
