"""The in-memory twin keeps the same contract as a real database."""

import time

import pytest

from syncapp.core.mapping import FieldOffer, FieldType, Kind, TableOffer
from syncapp.store.base import FieldInfo, LinkInfo, Setup, TableInfo
from syncapp.store.memory import MemoryBackend, MemoryDatabase
from tests.store.backend_contract import BackendContract, World

CLIENTS, ORDERS, TAGS = 1, 2, 3
LINK = 1
FIELDS: dict[int, dict[int, FieldInfo]] = {
    CLIENTS: {
        11: FieldInfo(11, "name", FieldType(Kind.TEXT, length=200)),
        12: FieldInfo(12, "phone", FieldType(Kind.TEXT, length=40)),
        13: FieldInfo(13, "tags", FieldType(Kind.RELATIONS, target="crm.Tag"), target=TAGS),
    },
    ORDERS: {
        21: FieldInfo(21, "number", FieldType(Kind.TEXT, length=32)),
        22: FieldInfo(
            22, "client", FieldType(Kind.RELATION, target="crm.Client"), target=CLIENTS, required=True
        ),
    },
    TAGS: {31: FieldInfo(31, "name", FieldType(Kind.TEXT, length=64))},
}


class TestContract(BackendContract):
    @pytest.fixture
    def database(self) -> MemoryDatabase:
        tables = {number: TableInfo(number, f"crm.{number}", "", fields) for number, fields in FIELDS.items()}
        captured = frozenset(number for fields in FIELDS.values() for number in fields)
        setup = Setup(1, tables, {LINK: LinkInfo(LINK, "Office")}, captured)
        catalogue = tuple(
            TableOffer(
                table.number,
                table.label,
                "",
                tuple(FieldOffer(f.number, f.name, "", f.type, True, True) for f in table.fields.values()),
            )
            for table in tables.values()
        )
        clock = lambda: time.time_ns() // 1000  # noqa: E731
        return MemoryDatabase(setup, b"i" * 16, clock, unique={ORDERS: [21]}, catalogues={LINK: catalogue})

    @pytest.fixture
    def world(self, database: MemoryDatabase) -> World:
        return World(
            backend=MemoryBackend(database),
            link=LINK,
            clients=CLIENTS,
            orders=ORDERS,
            tags=TAGS,
            name=11,
            phone=12,
            client_tags=13,
            number=21,
            client=22,
            tag_name=31,
            create=database.create,
            write=database.write,
            remove=database.remove,
        )

    def results(self, world: World) -> dict[int, str]:
        assert isinstance(world.backend, MemoryBackend)
        return {row.seq: row.result for row in world.backend.database.log}
