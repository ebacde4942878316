"""The tables that simulated programs share, and each program's own numbers for them.

Every program numbers its tables and fields differently, so that a mixed-up number cannot stay unnoticed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from syncapp.core.mapping import Catalogue, Direction, FieldOffer, FieldType, Kind, TableOffer
from syncapp.core.rules import Merge, Policy
from syncapp.store.base import FieldInfo, LinkInfo, Setup, TableInfo

Key: TypeAlias = tuple[str, str]
Ways: TypeAlias = Mapping[Key, Direction]
Policies: TypeAlias = Mapping[Key, Policy]
NO_POLICIES: Policies = {}


class Spec(NamedTuple):
    """A field, as every program has it. ``way``: direction as seen from the active program."""

    name: str
    kind: Kind = Kind.TEXT
    way: Direction = Direction.BOTH
    target: str = ""
    required: bool = False
    unique: bool = False
    merge: Merge = Merge.VALUE

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
STOCK = (
    Spec("item", unique=True),
    Spec("amount", Kind.INTEGER, required=True, merge=Merge.SUM),
    Spec("groups", Kind.RELATIONS, target="tag", merge=Merge.UNION),
)
TABLES: dict[str, tuple[Spec, ...]] = {"client": CLIENT, "tag": TAG, "order": ORDER, "stock": STOCK}
#: The tables that are used in every world.
PLAIN = ("client", "tag", "order")
MATCH_BY = {"client": ("code",)}
SPECS = {(table, spec.name): spec for table, specs in TABLES.items() for spec in specs}


#: The system fields by which deletions travel, where they do.
LIFE = {"record_status": FieldType(Kind.STATUS), "time_added": FieldType(Kind.DATETIME, null=True)}
Deaths: TypeAlias = Mapping[str, tuple[Direction, Direction]]
_NOWHERE: Mapping[int, Deaths] = {}


class Numbers:
    """One program's numbers: ``table["client"]``, ``field["client", "name"]`` and back.

    ``life``: table → the numbers of the fields of `LIFE`, in their order.
    """

    def __init__(self, instance: int) -> None:
        names = list(TABLES) if instance % 2 == 0 else list(reversed(TABLES))
        self.table = {name: 10 * (instance + 1) + i for i, name in enumerate(names)}
        keys = [(table, spec.name) for table in names for spec in TABLES[table]]
        self.field = {key: 100 * (instance + 1) + i for i, key in enumerate(keys)}
        self.life = {name: (first, first + 1) for first, name in self._life(instance, names)}
        self.table_name = {number: name for name, number in self.table.items()}
        self.key = {number: key for key, number in self.field.items()}

    def _life(self, instance: int, names: list[str]) -> Iterator[tuple[int, str]]:
        for place, name in enumerate(names):
            yield 100 * (instance + 1) + 60 + 2 * place, name

    def setup(
        self,
        links: tuple[int, ...],
        mapped: Mapping[int, Ways] | None = None,
        *,
        log: bool = True,
        policies: Policies = NO_POLICIES,
        dials: Collection[int] = (),
        deaths: Mapping[int, Deaths] = _NOWHERE,
    ) -> Setup:
        """The program's configuration with these links. ``mapped``: link → the directions of this program's mapping
        as seen from here; without it all tables are exchanged both ways. ``dials``: links of which it is the active
        side. ``deaths``: link → table → the ways of the fields of `LIFE` as seen from here, where deletions travel."""
        match_by = {
            self.table[table]: tuple(self.field[table, name] for name in names)
            for table, names in MATCH_BY.items()
        }
        known = mapped or {link: dict.fromkeys(SPECS, Direction.BOTH) for link in links}
        sent = {link: frozenset(self._numbers(ways, sends=True)) for link, ways in known.items()}
        alive: frozenset[int] = frozenset()
        if deaths:
            alive = frozenset(number for pair in self.life.values() for number in pair)
            sent = {n: found | self._told(deaths[n]) for n, found in sent.items()}
        return Setup(
            version=1,
            tables={self.table[name]: self._table(name, policies, mortal=bool(deaths)) for name in TABLES},
            links={
                link: LinkInfo(link, f"link {link}", log=log, match_by=match_by, active=link in dials)
                for link in links
            },
            captured=frozenset(n for ways in known.values() for n in self._numbers(ways, sends=False))
            | alive,
            logged=sent if log else {},
        )

    def _told(self, deaths: Deaths) -> set[int]:
        """The system fields that are sent."""
        return {
            number
            for table, ways in deaths.items()
            for number, way in zip(self.life[table], ways, strict=True)
            if way.sends
        }

    def _numbers(self, ways: Ways, *, sends: bool) -> list[int]:
        """The fields that are mapped, or only those that are sent."""
        return [
            self.field[key] for key, way in ways.items() if (way.sends if sends else way != Direction.OFF)
        ]

    def _table(self, name: str, policies: Policies, *, mortal: bool) -> TableInfo:
        fields = {}
        for spec in TABLES[name]:
            number = self.field[name, spec.name]
            kind = FieldType(spec.kind, null=not spec.required)
            target = self.table[spec.target] if spec.target else 0
            policy = policies.get((name, spec.name), Policy.LATEST)
            fields[number] = FieldInfo(
                number, spec.name, kind, target, spec.required, policy=policy, merge=spec.merge
            )
        if mortal:
            for number, (system, kind) in zip(self.life[name], LIFE.items(), strict=True):
                fields[number] = FieldInfo(number, system, kind, system=True, stored=False)
        status = self.life[name][0] if mortal else 0
        return TableInfo(self.table[name], f"crm.{name}", name, fields, status)

    def catalogue(
        self,
        *,
        active: bool,
        ways: Ways | None = None,
        policies: Policies = NO_POLICIES,
        hubs: Collection[Key] = (),
        deaths: Deaths | None = None,
    ) -> Catalogue:
        """What the program announces on a link of which it is the active or the passive side.

        ``ways``: the directions as seen from the active program, where they are not those of the fields. ``hubs``: the
        fields that it shares both ways over another link as well. ``deaths``: table → the direction of deletions, as
        seen from here; None: there are no system fields.
        """

        def offer(table: str, spec: Spec) -> FieldOffer:
            key = (table, spec.name)
            offered = self._offer(table, spec, active=active, way=(ways or {}).get(key, spec.way))
            policy = policies.get(key, Policy.LATEST).value
            return msgspec.structs.replace(offered, policy=policy, hub=key in hubs)

        return tuple(
            TableOffer(
                self.table[name],
                f"crm.{name}",
                name,
                (
                    *(offer(name, spec) for spec in specs),
                    *self._life_offers(name, deaths[name] if deaths else None),
                ),
            )
            for name, specs in TABLES.items()
        )

    def _life_offers(self, table: str, ways: tuple[Direction, ...] | None) -> Iterator[FieldOffer]:
        for number, way, (name, kind) in zip(self.life[table], ways or (), LIFE.items(), strict=False):
            yield FieldOffer(number, name, name, kind, way.sends, way.receives, system=True)

    def _offer(self, table: str, spec: Spec, *, active: bool, way: Direction) -> FieldOffer:
        up, down = way.sends, way.receives
        sends, receives = (up, down) if active else (down, up)
        kind = FieldType(spec.kind, null=not spec.required)
        number = self.field[table, spec.name]
        return FieldOffer(number, spec.name, spec.name, kind, sends, receives, merge=spec.merge)

    def unique(self) -> dict[int, tuple[int, ...]]:
        """table number → fields whose values must differ."""
        return {
            self.table[table]: tuple(self.field[table, spec.name] for spec in specs if spec.unique)
            for table, specs in TABLES.items()
        }
