"""Journal rows become stamped, numbered changes."""

from syncapp.core.changes import JournalRow, Op
from syncapp.core.clock import Version
from tests.store.programs import Program, pair


def entries(program: Program, table: str, pk: str) -> dict[str, Version]:
    number = program.database.by_pk[program.numbers.table[table], pk]
    record = program.database.records[number]
    return {program.numbers.key[field][1]: entry.version for field, entry in record.entries.items()}


def test_an_insert_stamps_every_field() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a")
    office.store.seal()
    versions = entries(office, "tag", pk)
    assert set(versions) == {"title", "label"}
    assert len(set(versions.values())) == 1


def test_an_update_stamps_what_changed() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a", label="x")
    office.store.seal()
    before = entries(office, "tag", pk)
    office.write("tag", pk, title="b", label="x")
    office.store.seal()
    after = entries(office, "tag", pk)
    assert after["label"] == before["label"]
    assert after["title"].time > before["title"].time


def test_an_edit_beats_what_it_saw_even_when_the_clock_went_back() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a")
    office.store.seal()
    before = entries(office, "tag", pk)["title"]
    office.offset = -3_600_000_000
    office.write("tag", pk, title="b")
    office.store.seal()
    assert entries(office, "tag", pk)["title"].time == before.time + 1


def test_an_update_of_a_row_without_history_stamps_only_that_field() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a", label="x")
    office.database.journal.clear()
    office.write("tag", pk, title="b")
    office.store.seal()
    assert set(entries(office, "tag", pk)) == {"title"}


def test_feed_numbers_are_dense_and_each_seal_has_a_tag() -> None:
    office, _ = pair()
    for n in range(3):
        office.create("tag", title=str(n))
    office.store.seal()
    first = office.database.state.head
    office.create("tag", title="x")
    office.store.seal()
    assert sorted(record.seq for record in office.database.records.values()) == [1, 2, 3, 4]
    assert (first.seq, office.database.state.head.seq) == (3, 4)
    assert first.tag != office.database.state.head.tag
    assert office.backend.seal_tag(2) == first.tag
    assert office.backend.seal_tag(9) is None


def test_a_seal_without_changes_moves_nothing() -> None:
    office, _ = pair()
    office.create("tag", title="a")
    office.store.seal()
    head = office.database.state.head
    assert office.store.seal() is False
    assert office.database.state.head == head


def test_seals_are_bounded() -> None:
    office, _ = pair(seal_rows=2)
    for n in range(3):
        office.create("tag", title=str(n))
    assert office.store.seal() is True
    assert office.store.seal() is False
    assert not office.database.journal


def test_a_row_that_came_and_went_leaves_nothing() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a")
    office.remove("tag", pk)
    office.store.seal()
    assert not office.database.records


def test_a_deleted_row_is_dead() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a")
    office.store.seal()
    office.remove("tag", pk)
    office.store.seal()
    (record,) = office.database.records.values()
    assert (record.alive, record.seq) == (False, 2)
    assert office.backend.records_by_pk(record.table, [pk]) == {}


def test_a_row_that_an_insert_may_have_replaced_is_looked_at() -> None:
    """INSERT OR REPLACE: the old row was noted, and is gone or rewritten."""
    office, _ = pair()
    pk = office.create("tag", title="a", label="x")
    office.store.seal()
    table, title = office.numbers.table["tag"], office.numbers.field["tag", "title"]
    before = entries(office, "tag", pk)
    office.database.journal.append(JournalRow(table, pk, Op.LOOK, (title,), office.backend.now()))
    office.database.journal.append(JournalRow(table, pk, Op.INSERT, (), office.backend.now()))
    office.store.seal()
    after = entries(office, "tag", pk)
    assert after["title"] != before["title"]
    assert after["label"] == before["label"]


def test_the_log_tells_before_and_after() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a", label="x")
    office.store.seal()
    office.write("tag", pk, title="b")
    office.write("tag", pk, title="c")
    office.store.seal()
    last = office.database.log[-1]
    assert (last.way, last.before, last.after, last.result) == ("out", "a", "c", "queued")
    assert [row.result for row in office.database.log] == ["replaced", "queued", "queued"]
