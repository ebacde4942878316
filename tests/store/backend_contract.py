"""What every `Backend` must do, whatever is behind it. A test module subclasses `BackendContract` with a `world`."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from syncapp.core.changes import START, Cursor, Entry, JournalRow, Op, Record, Totals
from syncapp.core.clock import Version
from syncapp.store.base import (
    UNKNOWN,
    Backend,
    ConflictRow,
    Contacts,
    FlowState,
    Holder,
    LinkStatus,
    LogRow,
    PeerInfo,
    ProblemRow,
    Refilter,
    RowRefused,
    Values,
)
from syncapp.store.deletionbase import ArchiveRow, Knower, OnDelete

ORIGIN = b"o" * 20


@dataclass(frozen=True)
class World:
    """A database with clients (``name``, text; ``tags``, many-to-many) and orders (``number``, unique text;
    ``client``, a required relation), all mapped on ``link``, and its user, who writes past the backend."""

    backend: Backend
    link: int
    clients: int
    orders: int
    tags: int
    name: int
    phone: int
    client_tags: int
    number: int
    client: int
    tag_name: int
    create: Callable[[int, Values], str]
    write: Callable[[int, str, Values], None]
    remove: Callable[[int, str], None]


class _Undo(Exception):
    pass


@contextmanager
def undone(unit: AbstractContextManager[None]) -> Iterator[None]:
    """Do the body within ``unit``, which an exception then leaves."""
    try:
        with unit:
            yield
            raise _Undo
    except _Undo:
        pass


def label(world: World, table: int) -> str:
    """The label of a table."""
    return world.backend.setup().tables[table].label


def uid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def entry(time: int, seq: int = 1, via: int = 0) -> Entry:
    return Entry(Version(time, ORIGIN, ((b"p" * 20, 3),)), seq, via)


def rows_of(rows: list[JournalRow]) -> list[tuple[int, str, int, tuple[int, ...]]]:
    return [(row.table, row.pk, int(row.op), tuple(sorted(row.fields))) for row in rows]


class BackendContract:
    """The rules. Each test gets a fresh `World` with an empty journal."""

    @pytest.fixture
    def world(self) -> World:
        raise NotImplementedError

    @pytest.fixture
    def backend(self, world: World) -> Backend:
        return world.backend

    # -- units of work --

    def test_transaction_rolls_back_whole(self, world: World) -> None:
        backend = world.backend
        with undone(backend.transaction()):
            backend.save_records([Record(0, world.clients, "1", uid(1), entries={})])
            backend.insert_rows(world.clients, [{world.name: "A"}])
            backend.set_head(Cursor(9, b"t" * 8))
        with backend.transaction():
            assert backend.records_by_uid([uid(1)]) == {}
            assert backend.match(world.clients, [world.name], [("A",)]) == {}
            assert backend.instance().head == START

    def test_savepoint_rolls_back_alone(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            (kept,) = backend.insert_rows(world.clients, [{world.name: "A"}])
            with undone(backend.savepoint()):
                backend.update_rows(world.clients, [world.name], [(kept, ["B"])])
            with backend.savepoint():
                backend.update_rows(world.clients, [world.phone], [(kept, ["1"])])
        with backend.transaction():
            assert backend.rows(world.clients, [kept], [world.name, world.phone]) == {kept: ["A", "1"]}

    def test_silence_ends_with_the_transaction(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            (pk,) = backend.insert_rows(world.clients, [{world.name: "A"}])
            with undone(backend.savepoint()):
                backend.update_rows(world.clients, [world.name], [(pk, ["B"])])
            backend.update_rows(world.clients, [world.name], [(pk, ["C"])])
        world.write(world.clients, pk, {world.name: "D"})
        with backend.transaction():
            assert rows_of(backend.drain(10)) == [(world.clients, pk, Op.UPDATE, (world.name,))]

    def test_silence_that_begins_in_an_undone_savepoint_begins_again(self, world: World) -> None:
        backend = world.backend
        pk = world.create(world.clients, {world.name: "A"})
        with backend.transaction():
            backend.drain(10)
            with undone(backend.savepoint()):
                backend.update_rows(world.clients, [world.name], [(pk, ["B"])])
            backend.update_rows(world.clients, [world.name], [(pk, ["C"])])
        with backend.transaction():
            assert backend.drain(10) == []
            assert backend.rows(world.clients, [pk], [world.name]) == {pk: ["C"]}

    def test_clock_is_in_microseconds(self, backend: Backend) -> None:
        first = backend.now()
        assert first > 1_500_000_000_000_000
        assert backend.now() >= first

    # -- instance, seals --

    def test_head_and_tags(self, backend: Backend) -> None:
        with backend.transaction():
            assert backend.instance().head == START
            assert len(backend.instance().origin) == 20
            backend.set_head(Cursor(5, b"first..."))
            backend.set_head(Cursor(9, b"second.."))
            assert backend.instance().head == Cursor(9, b"second..")
            assert [backend.seal_tag(seq) for seq in (0, 1, 5, 6, 9, 10)] == [
                *(b"", b"first...", b"first..."),
                *(b"second..", b"second..", None),
            ]

    def test_glance(self, world: World) -> None:
        backend = world.backend
        assert backend.glance() == (False, START)
        world.create(world.clients, {world.name: "A"})
        assert backend.glance() == (True, START)
        with backend.transaction():
            backend.drain(10)
            backend.set_head(Cursor(3, b"t" * 8))
        assert backend.glance() == (False, Cursor(3, b"t" * 8))

    # -- journal --

    def test_drain_takes_the_oldest_first_and_once(self, world: World) -> None:
        first = world.create(world.clients, {world.name: "A"})
        second = world.create(world.clients, {world.name: "B"})
        world.write(world.clients, first, {world.name: "C"})
        backend = world.backend
        with backend.transaction():
            assert backend.journal_size() == 3
            assert rows_of(backend.drain(2)) == [
                (world.clients, first, Op.INSERT, ()),
                (world.clients, second, Op.INSERT, ()),
            ]
            assert rows_of(backend.drain(2)) == [(world.clients, first, Op.UPDATE, (world.name,))]
            assert backend.drain(2) == []
            assert backend.journal_size() == 0

    def test_drain_is_undone_with_its_transaction(self, world: World) -> None:
        world.create(world.clients, {world.name: "A"})
        with undone(world.backend.transaction()):
            world.backend.drain(10)
        with world.backend.transaction():
            assert len(world.backend.drain(10)) == 1

    def test_drain_of_some_rows_leaves_the_others(self, world: World) -> None:
        first = world.create(world.clients, {world.name: "A"})
        second = world.create(world.clients, {world.name: "B"})
        world.write(world.clients, first, {world.name: "C", world.phone: "1"})
        backend = world.backend
        with backend.transaction():
            taken = backend.drain_rows(world.clients, [first, "4711"])
            assert rows_of(taken) == [
                (world.clients, first, Op.INSERT, ()),
                (world.clients, first, Op.UPDATE, tuple(sorted((world.name, world.phone)))),
            ]
            assert backend.drain_rows(world.orders, [second]) == []
            assert [row.pk for row in backend.drain(10)] == [second]

    def test_deletions_are_noted(self, world: World) -> None:
        pk = world.create(world.clients, {world.name: "A"})
        world.remove(world.clients, pk)
        with world.backend.transaction():
            assert [row.op for row in world.backend.drain(10)] == [Op.INSERT, Op.DELETE]

    # -- records --

    def test_records_come_back_as_saved(self, world: World) -> None:
        backend, entries = world.backend, {world.name: entry(5), world.phone: entry(6, via=world.link)}
        records = [Record(0, world.clients, str(i), uid(i), True, 10 - i, dict(entries)) for i in (1, 2, 3)]
        with backend.transaction():
            backend.save_records(records)
            assert len({record.id for record in records}) == 3
            assert 0 not in {record.id for record in records}
        with backend.transaction():
            assert backend.records_by_uid([uid(1), uid(9)]) == {uid(1): records[0]}
            assert backend.records_by_pk(world.clients, ["2", "3", "9"]) == {"2": records[1], "3": records[2]}
            assert backend.records_by_pk(world.orders, ["2"]) == {}
            assert [record.pk for record in backend.records_after(7, 10)] == ["2", "1"]
            assert [record.pk for record in backend.records_after(0, 2)] == ["3", "2"]

    def test_what_a_caller_does_to_a_record_is_not_stored_by_itself(self, world: World) -> None:
        backend, record = world.backend, Record(0, world.clients, "1", uid(1), entries={})
        with backend.transaction():
            backend.save_records([record])
            backend.records_by_uid([uid(1)])[uid(1)].entries[world.name] = entry(1)
            record.seq = 9
            assert backend.records_by_uid([uid(1)])[uid(1)].entries == {}
            backend.save_records([record])
            assert backend.records_by_uid([uid(1)])[uid(1)].seq == 9

    def test_a_key_passes_from_a_dead_record_to_a_new_one(self, world: World) -> None:
        backend, old = world.backend, Record(0, world.clients, "1", uid(1), entries={})
        with backend.transaction():
            backend.save_records([old])
            old.alive = False
            backend.save_records([Record(0, world.clients, "1", uid(2), entries={}), old])
            assert backend.records_by_pk(world.clients, ["1"])["1"].uid == uid(2)
            assert backend.records_by_uid([uid(1)])[uid(1)].alive is False

    def test_rename_of_a_record_that_never_travelled(self, world: World) -> None:
        backend, record = world.backend, Record(0, world.clients, "1", uid(5), entries={})
        with backend.transaction():
            backend.save_records([record])
            backend.rename(record, uid(7))
            assert record.uid == uid(7)
            assert backend.records_by_uid([uid(5)]) == {}
            assert backend.records_by_uid([uid(7)])[uid(7)].id == record.id

    @pytest.mark.parametrize(("own", "other"), [(5, 7), (7, 5)])
    def test_rename_of_a_record_that_travelled(self, world: World, own: int, other: int) -> None:
        backend, record = world.backend, Record(0, world.clients, "1", uid(own), entries={})
        with backend.transaction():
            backend.save_records([record])
            backend.add_pairs(world.link, [record.id])
            backend.rename(record, uid(other))
            assert record.uid == uid(5)
            found = backend.records_by_uid([uid(5), uid(7)])
            assert {name: known.id for name, known in found.items()} == {uid(5): record.id, uid(7): record.id}
            assert {known.uid for known in found.values()} == {uid(5)}
            assert backend.aliases([record.id, 10**6]) == {record.id: [uid(7)]}

    # -- rows --

    def test_insert_and_read(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            a, b = backend.insert_rows(
                world.clients, [{world.name: "A", world.phone: "1"}, {world.name: "B", world.phone: "2"}]
            )
            assert a != b
            assert backend.rows(world.clients, [b, a, "4711"], [world.phone, world.name]) == {
                a: ["1", "A"],
                b: ["2", "B"],
            }
            assert backend.existing(world.clients, [a, "4711"]) == {a}
            assert backend.drain(10) == []

    def test_keys_are_not_given_twice(self, world: World) -> None:
        own = world.create(world.clients, {world.name: "A"})
        with world.backend.transaction():
            (ours,) = world.backend.insert_rows(world.clients, [{world.name: "B"}])
        assert ours != own
        assert world.create(world.clients, {world.name: "C"}) not in (own, ours)

    def test_update_of_some_fields(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            keys = backend.insert_rows(world.clients, [{world.name: n, world.phone: "1"} for n in "AB"])
            backend.update_rows(
                world.clients, [world.phone], [(keys[0], ["8"]), (keys[1], ["9"]), ("4711", ["x"])]
            )
            assert backend.rows(world.clients, keys, [world.name, world.phone]) == {
                keys[0]: ["A", "8"],
                keys[1]: ["B", "9"],
            }
            assert backend.drain(10) == []

    def test_relations_are_keys(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            a, b = backend.insert_rows(world.clients, [{world.name: "A"}, {world.name: "B"}])
            (order,) = backend.insert_rows(world.orders, [{world.number: "1", world.client: a}])
            assert backend.rows(world.orders, [order], [world.client]) == {order: [a]}
            backend.update_rows(world.orders, [world.client], [(order, [b])])
            assert backend.rows(world.orders, [order], [world.client]) == {order: [b]}

    def test_many_to_many_is_a_sorted_list_of_keys(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            tags = backend.insert_rows(world.tags, [{world.tag_name: str(i)} for i in range(12)])
            (pk,) = backend.insert_rows(
                world.clients, [{world.name: "A", world.client_tags: sorted(tags[:3])}]
            )

            def held() -> Any:
                return backend.rows(world.clients, [pk], [world.client_tags])[pk][0]

            assert held() == sorted(tags[:3])
            backend.update_rows(world.clients, [world.client_tags], [(pk, [sorted(tags[2:])])])
            assert held() == sorted(tags[2:])
            backend.update_rows(world.clients, [world.client_tags], [(pk, [[]])])
            assert held() == []
            assert backend.drain(10) == []

    def test_unique_values_are_refused(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            (a,) = backend.insert_rows(world.clients, [{world.name: "A"}])
            first, second = backend.insert_rows(
                world.orders, [{world.number: n, world.client: a} for n in ("1", "2")]
            )
            with pytest.raises(RowRefused) as refused, backend.savepoint():
                backend.insert_rows(world.orders, [{world.number: n, world.client: a} for n in ("3", "1")])
            assert refused.value.code == "not_unique"
            with pytest.raises(RowRefused), backend.savepoint():
                backend.update_rows(world.orders, [world.number], [(second, ["9"]), (first, ["9"])])
            assert backend.rows(world.orders, [first, second], [world.number]) == {
                first: ["1"],
                second: ["2"],
            }
            assert backend.match(world.orders, [world.number], [("3",)]) == {}

    def test_a_required_field_without_value_is_named(self, world: World) -> None:
        backend = world.backend
        with backend.transaction(), pytest.raises(RowRefused) as refused, backend.savepoint():
            backend.insert_rows(world.orders, [{world.number: "1"}])
        assert (refused.value.code, refused.value.detail) == ("cannot_create", "client")

    def test_delete(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            a, b = backend.insert_rows(world.clients, [{world.name: "A"}, {world.name: "B"}])
            backend.delete_rows([(label(world, world.clients), [a, "4711"])])
            assert backend.existing(world.clients, [a, b]) == {b}
            assert backend.drain(10) == []

    def test_rows_that_others_refer_to_stay(self, world: World) -> None:
        backend = world.backend
        clients, orders = label(world, world.clients), label(world, world.orders)
        with backend.transaction():
            with backend.savepoint():
                (a,) = backend.insert_rows(world.clients, [{world.name: "A"}])
                (order,) = backend.insert_rows(world.orders, [{world.number: "1", world.client: a}])
            with pytest.raises(RowRefused), backend.savepoint():
                backend.delete_rows([(clients, [a])])
            assert backend.existing(world.clients, [a]) == {a}
            with backend.savepoint():
                backend.delete_rows([(clients, [a]), (orders, [order])])
            assert backend.existing(world.clients, [a]) == backend.existing(world.orders, [order]) == set()

    def test_what_refers_to_a_row(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            with backend.savepoint():
                tag, other = backend.insert_rows(world.tags, [{world.tag_name: "t"}, {world.tag_name: "u"}])
                a, b = backend.insert_rows(
                    world.clients, [{world.name: "A", world.client_tags: [tag]}, {world.name: "B"}]
                )
                orders = backend.insert_rows(world.orders, [{world.number: n, world.client: a} for n in "12"])
            (found,) = backend.references(label(world, world.clients), [a, b, "4711"])
            assert (found.label, found.field) == (label(world, world.orders), "client")
            assert found.rule is OnDelete.CASCADE
            assert set(found.rows) == {(a, order) for order in orders}
            (member,) = backend.references(label(world, world.tags), [tag, other])
            assert (member.label, member.rule) == (label(world, world.clients), OnDelete.MEMBER)
            assert member.rows == ((tag, a),)
            assert backend.references(label(world, world.orders), orders) == []
            backend.delete_rows([(label(world, world.tags), [tag])])
            assert backend.rows(world.clients, [a], [world.client_tags]) == {a: [[]]}
            assert backend.drain(10) == []

    def test_a_row_comes_back_as_it_was(self, world: World) -> None:
        backend, clients = world.backend, label(world, world.clients)
        with backend.transaction(), backend.savepoint():
            (tag,) = backend.insert_rows(world.tags, [{world.tag_name: "t"}])
            (a,) = backend.insert_rows(
                world.clients, [{world.name: "Ёлка", world.phone: "1", world.client_tags: [tag]}]
            )
            kept = backend.snapshot(clients, [a, "4711"])
            assert kept.keys() == {a}
            assert (kept[a]["name"], kept[a]["phone"], kept[a]["tags"]) == ("Ёлка", "1", [tag])
            backend.delete_rows([(clients, [a])])
            new = backend.restore_row(clients, json.loads(json.dumps(kept[a])))
            columns = [world.name, world.phone, world.client_tags]
            assert backend.rows(world.clients, [new], columns) == {new: ["Ёлка", "1", [tag]]}
            assert backend.drain(10) == []

    # -- the archive, tombstones --

    def archive_row(self, world: World, number: int, pk: str) -> ArchiveRow:
        return ArchiveRow(
            *(world.link, world.clients, "crm.Client", uid(number), pk, {"name": "ы"}, {"tags": ["aa"]}),
            *(5, ORIGIN, 7),
        )

    def test_the_archive_gives_the_newest(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            rows = [self.archive_row(world, n, pk) for n, pk in ((1, "1"), (1, "2"), (2, "3"))]
            backend.add_archive(rows)
            assert backend.archived([uid(1), uid(9)]) == {uid(1): rows[1]}
            backend.drop_archive([uid(1)])
            assert backend.archived([uid(1), uid(2)]) == {uid(2): rows[2]}

    def test_who_knows_of_a_dead_record(self, world: World) -> None:
        backend = world.backend
        records = [
            Record(0, world.clients, str(i), uid(i), alive=i == 1, seq=i, entries={}) for i in range(5)
        ]
        with backend.transaction():
            backend.save_records(records)
            backend.cursors(world.link)
            ids = [record.id for record in records]
            assert [r.id for r in backend.tombstones(0, 10)] == [ids[0], *ids[2:]]
            assert [r.id for r in backend.tombstones(ids[2], 1)] == [ids[3]]
            backend.add_pairs(world.link, [ids[4]])
            backend.offer(world.link, ids[2])
            backend.offer(world.link, ids[1])
            cursors = backend.cursors(world.link)
            cursors.acked = Cursor(3, b"t" * 8)
            assert backend.save_cursors(cursors)
            # The first has no number: it was never in the feed. The fourth was never sent.
            assert backend.knowers(records) == {
                ids[1]: [Knower(world.link, True)],
                ids[2]: [Knower(world.link, True)],
                ids[4]: [Knower(world.link, False)],
            }

    def test_forgotten_records_leave_nothing(self, world: World) -> None:
        backend = world.backend
        record = Record(0, world.clients, "1", uid(1), alive=False, seq=3, entries={})
        with backend.transaction():
            backend.save_records([record])
            backend.cursors(world.link)
            backend.add_pairs(world.link, [record.id])
            backend.rename(record, uid(2))
            backend.add_archive([self.archive_row(world, 1, "1")])
            backend.forget([record], {world.link: 3})
            assert backend.records_by_uid([uid(1), uid(2)]) == {}
            assert backend.paired(world.link, [record.id]) == set()
            assert backend.archived([uid(1)]) == {}
            assert backend.cursors(world.link).floor == 3
            backend.forget([], {world.link: 2})
            assert backend.cursors(world.link).floor == 3

    def test_what_waits_is_hastened(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            waiting = [self.problem(world, n, waits_for=uid(50 + n), next_try=10**6) for n in (1, 2)]
            backend.save_problems(waiting)
            backend.hasten([uid(52), uid(99)])
            assert [p.uid for p in backend.problems_due(world.link, 5, 10)] == [uid(2)]

    def test_doubles_are_those_of_one_table_over_all_links(self, world: World) -> None:
        backend, common = world.backend, {"params": {}, "waits_for": None, "payload": b"x", "created_at": 1}
        rows = [
            ProblemRow(0, world.link, "in", world.clients, b"a" * 16, "", 0, "ambiguous", **common),
            ProblemRow(0, world.link, "in", world.orders, b"b" * 16, "", 0, "ambiguous", **common),
            ProblemRow(0, world.link, "in", world.clients, b"c" * 16, "", 0, "busy", **common),
            ProblemRow(0, world.link, "out", world.clients, b"d" * 16, "", 0, "ambiguous", **common),
        ]
        with backend.transaction():
            backend.save_problems(rows)
            assert [row.uid for row in backend.doubles(world.clients)] == [b"a" * 16]
            assert [row.uid for row in backend.doubles(world.orders)] == [b"b" * 16]

    def test_match(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            a, b, c, d = backend.insert_rows(
                world.clients,
                [
                    {world.name: "Ann  Lee", world.phone: "1"},
                    {world.name: "ЁЛКА", world.phone: "2"},
                    {world.name: "Twin", world.phone: "3"},
                    {world.name: "TWIN", world.phone: "3"},
                ],
            )
            keys = [(" ann lee",), ("ёлка",), ("tWIN",), ("nobody",), (None,)]
            found = backend.match(world.clients, [world.name], keys)
            assert {key: sorted(rows) for key, rows in found.items()} == {
                (" ann lee",): [a],
                ("ёлка",): [b],
                ("tWIN",): sorted([c, d]),
            }
            both = backend.match(world.clients, [world.name, world.phone], [("twin", "3"), ("ёлка", "9")])
            assert {key: sorted(rows) for key, rows in both.items()} == {("twin", "3"): sorted([c, d])}

    def test_match_by_other_spellings(self, world: World) -> None:
        """Whatever signs a number is written with."""
        backend = world.backend
        with backend.transaction():
            stored = ["8(495)1234567", "84951234568", "+7 495 123-45-69"]
            rows = backend.insert_rows(world.clients, [{world.name: "A", world.phone: p} for p in stored])
            keys = [("+7 495 123-45-67",), ("+7(495)123-45-68",), ("84951234569",)]
            found = backend.match(world.clients, [world.phone], keys)
            assert found == {key: [row] for key, row in zip(keys, rows, strict=True)}

    def test_match_sees_every_change(self, world: World) -> None:
        """Of people, before and after it is sealed, and of ours."""
        backend, asked = world.backend, [("ann lee",)]

        def found() -> list[str]:
            return sorted(backend.match(world.clients, [world.name], asked).get(asked[0], []))

        with backend.transaction():
            backend.setup()
            (ours,) = backend.insert_rows(world.clients, [{world.name: "Bob"}])
            assert found() == []
            backend.update_rows(world.clients, [world.name], [(ours, ["Ann  Lee"])])
            assert found() == [ours]
            backend.update_rows(world.clients, [world.phone], [(ours, ["1"])])
            assert found() == [ours]
        theirs = world.create(world.clients, {world.name: "ANN LEE"})
        with backend.transaction():
            backend.setup()
            assert found() == sorted([ours, theirs])
            backend.drain(100)
            assert found() == sorted([ours, theirs])
        world.write(world.clients, theirs, {world.name: "Bob"})
        with backend.transaction():
            backend.setup()
            assert found() == [ours]
            backend.drain(100)
            assert found() == [ours]
        world.write(world.clients, theirs, {world.name: "ANN lee"})
        with backend.transaction():
            backend.setup()
            backend.drain(100)
            assert found() == sorted([ours, theirs])
            backend.delete_rows([(label(world, world.clients), [ours])])
            assert found() == [theirs]

    def test_check(self, world: World) -> None:
        assert world.backend.check(world.clients, world.name, "good") == ""
        assert "NUL" in world.backend.check(world.clients, world.name, "a\0b")
        assert world.backend.check(world.clients, world.name, "x" * 10_000) != ""

    def test_long_lists(self, world: World) -> None:
        """More than any database takes as parameters of one statement."""
        backend, count = world.backend, 3000
        with backend.transaction():
            keys = backend.insert_rows(world.clients, [{world.name: str(i)} for i in range(count)])
            assert len(backend.existing(world.clients, keys)) == count
            assert len(backend.rows(world.clients, keys, [world.name])) == count
            found = backend.match(world.clients, [world.name], [(str(i),) for i in range(count)])
            assert [found[str(i),] for i in range(count)] == [[key] for key in keys]
            records = [Record(0, world.clients, key, uid(i + 1), entries={}) for i, key in enumerate(keys)]
            backend.save_records(records)
            assert len(backend.records_by_pk(world.clients, keys)) == count
            assert len(backend.records_by_uid([record.uid for record in records])) == count
            ids = [record.id for record in records]
            backend.add_pairs(world.link, ids)
            assert backend.paired(world.link, ids) == set(ids)
            backend.drop_pairs(world.link, ids)
            assert backend.paired(world.link, ids) == set()
            assert backend.references(label(world, world.clients), keys) == []
            backend.delete_rows([(label(world, world.clients), keys)])
            assert backend.existing(world.clients, keys) == set()

    def test_nothing_asked(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            assert backend.rows(world.clients, [], [world.name]) == {}
            assert backend.existing(world.clients, []) == set()
            assert backend.match(world.clients, [world.name], []) == {}
            assert backend.records_by_pk(world.clients, []) == backend.records_by_uid([]) == {}
            assert backend.insert_rows(world.clients, []) == []
            backend.update_rows(world.clients, [world.name], [])
            backend.delete_rows([])
            assert backend.references(label(world, world.clients), []) == []
            assert backend.snapshot(label(world, world.clients), []) == backend.archived([]) == {}
            backend.save_records([])
            assert backend.drain_rows(world.clients, []) == []
            assert backend.problems_of(world.link, []) == backend.problems_waiting(world.link, []) == []

    # -- links --

    def test_cursors(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            cursors = backend.cursors(world.link)
            assert (cursors.acked, cursors.applied, cursors.scanned) == (START, START, 0)
            assert (cursors.totals, cursors.peer_totals, cursors.peer_instance) == (Totals(), Totals(), b"")
            cursors.acked, cursors.applied, cursors.scanned = Cursor(3, b"a" * 8), Cursor(4, b"b" * 8), 7
            cursors.totals, cursors.peer_totals = Totals(10, 4, 3, 2, 1), Totals(20, 8, 6, 4, 2)
            cursors.peer_instance, cursors.peer_head = b"i" * 16, 8
            cursors.last_exchange, cursors.lag = 123, 45
            assert backend.save_cursors(cursors)
        with backend.transaction():
            assert backend.cursors(world.link) == cursors

    def test_leases(self, world: World) -> None:
        backend, now = world.backend, world.backend.now()
        with backend.transaction():
            first = backend.claim(world.link, "a", now + 10**9)
            assert first is not None
            old = backend.cursors(world.link)
            assert old.lease_token == first
            assert backend.claim(world.link, "b", now + 10**9) is None
            assert backend.renew(world.link, first, now + 2 * 10**9, LinkStatus("connected"))
            second = backend.claim(world.link, "b", now + 10**9, force=True)
            assert second not in (None, first)
            assert not backend.renew(world.link, first, now + 10**9)
            old.scanned = 99
            assert not backend.save_cursors(old)
            assert backend.cursors(world.link).scanned == 0
            assert backend.save_cursors(backend.cursors(world.link))

    def test_contacts(self, world: World) -> None:
        backend, link = world.backend, world.link
        with backend.transaction():
            backend.cursors(link)
            assert backend.contacts(link) == Contacts(link)
            holders = (
                Holder(b"\x00\xff", 3, 10**15, "Офис", "host, 10.0.0.1"),
                Holder(b"\x01", 4, 7, "", "", True),
            )
            backend.save_contacts(Contacts(link, 5, 2, 0, 9, 11, holders, 10**15))
            assert backend.contacts(link) == Contacts(link, 5, 2, 0, 9, 11, holders, 10**15)
            assert backend.proofs()[link] == 2

    def test_the_next_token_is_above_what_the_peer_remembers(self, world: World) -> None:
        backend, link = world.backend, world.link
        with backend.transaction():
            first = backend.claim(link, "a", 10**18)
            assert first is not None
            backend.save_contacts(Contacts(link, floor=first + 100))
            assert backend.renew(link, first, 10**18), "the present one stays as it is"
            assert backend.claim(link, "a", 10**18) == first + 101
            assert backend.claim(link, "a", 10**18) == first + 102

    def test_a_new_epoch(self, world: World) -> None:
        backend = world.backend
        with undone(backend.transaction()):
            backend.set_epoch(7)
        with backend.transaction():
            before = backend.instance()
            backend.set_epoch(2**31 - 1)
            after = backend.instance()
            assert after.origin == before.origin[:16] + (2**31 - 1).to_bytes(4, "big")
            assert before.origin[16:] == (1).to_bytes(4, "big")
            assert after.head == before.head

    def test_pairs_in_doubt(self, world: World) -> None:
        backend, link = world.backend, world.link
        records = [Record(0, world.clients, str(n), uid(n), entries={}) for n in range(3)]
        with backend.transaction():
            backend.save_records(records)
            one, two, three = (record.id for record in records)
            backend.add_pairs(link, {one, two})
            backend.mark_left(link, {two: 9})
            backend.doubt_pairs(link)
            assert backend.pairs(link, [one, two, three]) == {one: 1, two: 9}
            assert backend.paired(link, [one, two, three]) == {one, two}
            backend.add_pairs(link, {one}, 5)
            assert backend.pairs(link, [one]) == {one: 0}

    def test_when_the_newest_change_was_parked(self, world: World) -> None:
        backend, link = world.backend, world.link
        with backend.transaction():
            assert backend.last_parked(link) == 0
            for number, at in enumerate((5, 9, 7)):
                row = ("in", world.clients, uid(number), "", 0, "value", {}, None, b"", at)
                backend.save_problems([ProblemRow(0, link, *row)])
            out = ("out", world.clients, uid(9), "", 0, "value", {}, None, b"", 99)
            backend.save_problems([ProblemRow(0, link, *out)])
            assert backend.last_parked(link) == 9

    def test_inserts_that_wait_in_the_journal(self, world: World) -> None:
        backend = world.backend
        pks = [world.create(world.clients, {world.name: str(n)}) for n in range(2)]
        world.write(world.clients, pks[0], {world.name: "x"})
        with backend.transaction():
            (row,) = backend.inserts(world.clients, [pks[0], "4711"])
            assert (row.table, row.pk, row.op) == (world.clients, pks[0], Op.INSERT)
            assert backend.journal_size() == 3
            drained = backend.drain(10)
            assert [r.id for r in drained] == sorted({r.id for r in drained})
            assert row in drained, "the same row, number and all"
            assert backend.inserts(world.clients, pks) == []

    def test_peer(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            catalogue = backend.catalogue(world.link)
            peer = PeerInfo(b"i" * 16, 2, "Office", "syncapp/1", "https://x", catalogue, (), -5, 77)
            backend.save_peer(world.link, peer)
            cursors = backend.cursors(world.link)
            assert (cursors.peer_instance, cursors.peer_head) == (b"i" * 16, 77)

    def test_flows(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            flows = backend.flows(world.link)
            assert flows[world.name] == flows[world.number] == FlowState(False, None)
            backend.save_flows(world.link, {world.name: FlowState(True), world.number: FlowState(False, 5)})
            flows = backend.flows(world.link)
            assert (flows[world.name], flows[world.number]) == (FlowState(True, None), FlowState(False, 5))

    def test_pairs(self, world: World) -> None:
        backend = world.backend
        records = [Record(0, world.clients, str(i), uid(i), entries={}) for i in (1, 2)]
        with backend.transaction():
            backend.save_records(records)
            one, two = (record.id for record in records)
            backend.add_pairs(world.link, [one])
            backend.add_pairs(world.link, [one])
            assert backend.paired(world.link, [one, two]) == {one}
            backend.drop_pairs(world.link, [one, two])
            assert backend.paired(world.link, [one, two]) == set()

    def test_what_was_kept_from_the_peer(self, world: World) -> None:
        backend = world.backend
        records = [Record(0, world.clients, str(i), uid(i), entries={}) for i in (1, 2, 3)]
        with backend.transaction():
            backend.save_records(records)
            one, two, three = ids = [record.id for record in records]
            backend.add_pairs(world.link, [one, two])
            assert backend.pairs(world.link, ids) == {one: 0, two: 0}
            backend.mark_left(world.link, {one: 5, two: 8})
            assert backend.pairs(world.link, ids) == {one: 5, two: 8}
            assert backend.paired(world.link, ids) == {one, two}
            backend.add_pairs(world.link, ids)
            assert backend.pairs(world.link, ids) == {one: 5, two: 8, three: 0}
            backend.add_pairs(world.link, ids, 7)
            assert backend.pairs(world.link, ids) == {one: 0, two: 8, three: 0}
            backend.drop_pairs(world.link, [two])
            backend.add_pairs(world.link, [two])
            assert backend.pairs(world.link, [two]) == {two: 0}

    def test_how_far_a_filtered_table_was_looked_through(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            assert backend.refilters(world.link) == {}
            backend.save_refilter(world.link, world.clients, Refilter(3, 9))
            backend.save_refilter(world.link, world.orders, Refilter(0, 9))
            backend.save_refilter(world.link, world.clients, Refilter(6, 9))
            assert backend.refilters(world.link) == {
                **{world.clients: Refilter(6, 9), world.orders: Refilter(0, 9)},
            }
            backend.save_refilter(world.link, world.orders, None)
            assert backend.refilters(world.link) == {world.clients: Refilter(6, 9)}

    # -- problems --

    def problem(self, world: World, number: int, **changes: Any) -> ProblemRow:
        values: dict[str, Any] = {
            **{
                "id": 0,
                "link": world.link,
                "way": "in",
                "table": world.clients,
                "uid": uid(number),
                "pk": "",
            },
            **{"field": world.name, "code": "value", "params": {"detail": "ы"}, "waits_for": None},
            **{"payload": b"\x00p", "created_at": 5, "tries": 1, "next_try": 100 + number},
        }
        return ProblemRow(**{**values, **changes})

    def test_problems_come_back_as_saved(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            backend.save_problems([self.problem(world, i, waits_for=uid(50 + i)) for i in (1, 2, 3)])
            (found,) = backend.problems_of(world.link, [uid(2), uid(9)])
            assert found == self.problem(world, 2, id=found.id, waits_for=uid(52))
            assert [p.uid for p in backend.problems_waiting(world.link, [uid(53)])] == [uid(3)]
            assert [p.uid for p in backend.problems_due(world.link, 102, 10)] == [uid(1), uid(2)]
            assert len(backend.problems_due(world.link, 1000, 2)) == 2
            assert backend.problems_by_id([found.id, 10**6]) == [found]
            backend.drop_problems([found.id])
            assert backend.problems_of(world.link, [uid(2)]) == []

    def test_a_newer_problem_of_the_same_field_replaces_the_older(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            backend.save_problems([self.problem(world, 1), self.problem(world, 1, field=0)])
            backend.save_problems([self.problem(world, 1, code="not_unique", tries=7)])
            found = {p.field: (p.code, p.tries) for p in backend.problems_of(world.link, [uid(1)])}
            assert found == {world.name: ("not_unique", 7), 0: ("value", 1)}

    def test_outgoing_problems_keep_to_themselves(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            backend.save_problems([self.problem(world, 1, way="out"), self.problem(world, 1)])
            assert [p.way for p in backend.problems_of(world.link, [uid(1)])] == ["in"]
            assert [p.way for p in backend.problems_due(world.link, 1000, 9)] == ["in"]
            ids = [p.id for p in backend.problems_of(world.link, [uid(1)])]
            backend.clear_unsendable(world.link, [(uid(1), world.name)])
            backend.clear_unsendable(world.link, [(uid(1), world.name)])
            assert [p.id for p in backend.problems_by_id([ids[0] - 1, ids[0], ids[0] + 1])] == ids

    def test_reasons_may_quote_what_no_database_holds(self, world: World) -> None:
        params = {"value": "a\0b\ud800", "list": ["\0", {"\0": 1}], "backslash": r"\u0000", "good": "ы"}
        problem = msgspec.structs.replace(self.problem(world, 1), params=params)
        with world.backend.transaction():
            world.backend.save_problems([problem])
            (found,) = world.backend.problems_of(world.link, [uid(1)])
        assert (found.params["good"], found.params["backslash"]) == ("ы", r"\u0000")
        assert found.params["value"].startswith("a")

    def test_a_peer_may_call_itself_anything(self, world: World) -> None:
        with world.backend.transaction():
            title = "\0" + "x" * 1000
            peer = PeerInfo(b"p" * 16, 1, title, title, title, (), (), 0, 0)
            world.backend.save_peer(world.link, peer)

    # -- conflicts, log --

    def test_conflicts_and_log_take_any_value(self, world: World) -> None:
        values: list[Any] = [None, "ы", 5, 1.5, True, b"\x00", ["1"], {"a": [None]}, UNKNOWN]
        with world.backend.transaction():
            world.backend.add_conflicts(
                [
                    ConflictRow(
                        world.link, world.clients, uid(1), "1", world.name, v, v, 2, ORIGIN, 1, ORIGIN, 5
                    )
                    for v in values[:-1]
                ]
            )
            world.backend.add_log([self.log(world, 1, 1, before=v, after=v) for v in values])

    def log(self, world: World, number: int, seq: int, **changes: Any) -> LogRow:
        values: dict[str, Any] = {
            **{
                "link": world.link,
                "at": 1,
                "way": "out",
                "table": world.clients,
                "pk": "1",
                "uid": uid(number),
            },
            **{
                "field": world.name,
                "before": UNKNOWN,
                "after": "x",
                "result": "queued",
                "detail": "",
                "seq": seq,
            },
        }
        return LogRow(**{**values, **changes})

    def results(self, world: World) -> dict[int, str]:
        """Feed number → result of the log rows: reading them is no part of a backend."""
        raise NotImplementedError

    def test_queued_log_rows_find_their_end(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            backend.add_log([self.log(world, i, seq=i) for i in range(1, 7)])
            backend.log_replaced(world.link, [(uid(2), world.name), (uid(3), world.phone)])
            backend.log_sent(
                world.link, 1, 5, 99, {(uid(4), world.name): "superseded", (uid(6), world.name): "x"}
            )
        assert self.results(world) == {
            **{1: "queued", 2: "replaced", 3: "sent", 4: "superseded", 5: "sent", 6: "queued"},
        }

    def test_log_rows_that_the_filter_kept(self, world: World) -> None:
        backend = world.backend
        with backend.transaction():
            backend.add_log([self.log(world, i, seq=i) for i in range(1, 4)])
            backend.log_filtered(world.link, [uid(2), uid(9)])
            backend.log_sent(world.link, 0, 9, 99, {})
        assert self.results(world) == {1: "sent", 2: "filtered", 3: "sent"}
