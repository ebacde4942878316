"""Applying a peer's batch: merge, hold, park, count."""

import msgspec
import pytest

from syncapp import errors
from syncapp.core.changes import Batch, Cursor, Row, RowKind, Section, Totals, WireVersion
from syncapp.core.clock import Version
from syncapp.store import parked
from syncapp.store.parked import Cell
from tests.store.programs import SECOND, Program, exchange, pair, send


def known_tag(**values: str) -> tuple[Program, Program, str]:
    """Two programs that share one tag: (office, branch, its key, the same in both)."""
    office, branch = pair()
    pk = office.create("tag", **values)
    exchange(office, branch)
    return office, branch, pk


def test_different_fields_of_one_record_both_survive() -> None:
    office, branch, pk = known_tag(title="a", label="x")
    office.write("tag", pk, title="b")
    branch.write("tag", pk, label="y")
    exchange(office, branch)
    assert office.rows("tag", "title", "label") == branch.rows("tag", "title", "label") == [("b", "y")]
    assert office.conflicts == branch.conflicts == []


def test_of_the_same_field_the_later_edit_wins_and_the_loser_is_kept() -> None:
    office, branch, pk = known_tag(title="a")
    office.write("tag", pk, title="early")
    branch.write("tag", pk, title="late")
    exchange(office, branch)
    assert office.rows("tag", "title") == branch.rows("tag", "title") == ["late"]
    kept = [*office.conflicts, *branch.conflicts]
    assert {(row.won, row.lost) for row in kept} == {("late", "early")}
    assert all(row.won_time > row.lost_time for row in kept)


def test_a_local_edit_that_is_not_sealed_yet_takes_part() -> None:
    office, branch, pk = known_tag(title="a")
    office.write("tag", pk, title="early")
    batch = office.read()
    branch.write("tag", pk, title="late")
    assert batch is not None
    branch.apply(batch)
    assert branch.rows("tag", "title") == ["late"]
    assert [row.lost for row in branch.conflicts] == ["early"]


def test_redelivery_changes_nothing() -> None:
    office, branch = pair()
    office.create("tag", title="a")
    batch = office.read()
    assert batch is not None
    first = branch.apply(batch)
    before = (branch.rows("tag", "title"), dict(branch.database.records))
    second = branch.apply(batch)
    assert (branch.rows("tag", "title"), dict(branch.database.records)) == before
    assert first.totals == Totals(2, 2)
    assert second.totals == Totals(4, 2, 0, 2)
    assert second.have == first.have


def test_a_batch_above_the_cursor_is_a_gap() -> None:
    office, branch = pair()
    office.create("tag", title="a")
    batch = office.read()
    assert batch is not None
    done = branch.apply(msgspec.structs.replace(batch, start=Cursor(5, b"x" * 8)))
    assert (done.gap, done.have.seq, branch.rows("tag", "title")) == (True, 0, [])


def test_a_cursor_with_another_tag_is_a_restored_database() -> None:
    office, branch, pk = known_tag(title="a")
    office.write("tag", pk, title="b")
    batch = office.read()
    assert batch is not None
    with pytest.raises(errors.RestoredThere):
        branch.apply(msgspec.structs.replace(batch, start=Cursor(batch.start.seq, b"other")))


def test_without_the_lease_nothing_is_written() -> None:
    office, branch = pair()
    office.create("tag", title="a")
    batch = office.read()
    assert batch is not None
    assert branch.store.claim(1, "somebody else", 10, force=True)
    with pytest.raises(errors.LeaseLost):
        branch.apply(batch)
    assert branch.rows("tag", "title") == []


# -- relations -------------------------------------------------------------------------------------------------


def test_an_optional_relation_waits_alone() -> None:
    office, branch = pair()
    parent = office.create("client", code="1", name="parent")
    office.store.seal()
    first = office.read()
    child = office.create("client", code="2", name="child", parent=parent)
    assert first is not None
    office.backend.add_pairs(1, [office.database.by_pk[office.numbers.table["client"], parent]])
    second = office.read(first.end)
    assert second is not None
    done = branch.apply(msgspec.structs.replace(second, start=Cursor()))
    assert branch.rows("client", "name", "parent") == [("child", None)]
    assert branch.codes == ["missing_target"]
    assert (done.totals.applied, done.totals.parked) == (5, 1)
    branch.apply(first)
    assert sorted(branch.rows("client", "name", "parent")) == [("child", "2"), ("parent", None)]
    assert branch.codes == []
    assert child


def test_a_parked_value_is_not_replaced_by_an_older_one_that_comes_late() -> None:
    office, branch = pair()
    client = branch.create("client", code="1", name="a")
    order = branch.create("order", number="7", client=client)
    exchange(branch, office)

    def alone(code: str) -> Batch:
        """The order's change without the new client that it refers to."""
        branch.write("order", order, payer=branch.create("client", code=code, name="new"))
        batch = branch.read()
        assert batch is not None
        orders = [section for section in batch.sections if section.table == branch.numbers.table["order"]]
        return msgspec.structs.replace(batch, start=branch.sent, sections=orders)

    older, newer = alone("2"), alone("3")
    for batch in (newer, older, newer):
        office.apply(batch)
        assert [parked.unpack(p.uid, p.table, p.payload).cells for p in office.problems] == [
            {
                office.numbers.field["order", "payer"]: Cell(
                    *cell(newer), branch.numbers.field["order", "payer"]
                )
            }
        ]
    assert office.database.cursors[1].totals.parked == 3


def cell(batch: Batch) -> tuple[Version, object]:
    """The one versioned value in a batch."""
    (section,) = batch.sections
    (row,) = section.rows
    assert row.versions[0] is not None
    return Version(row.versions[0].time, batch.origins[row.versions[0].origin]), row.values[0]


def test_a_required_relation_parks_the_whole_record() -> None:
    office, branch = pair()
    client = office.create("client", code="1", name="c")
    office.store.seal()
    first = office.read()
    office.backend.add_pairs(1, [office.database.by_pk[office.numbers.table["client"], client]])
    order = office.create("order", number="1", subject="s", client=client)
    assert first is not None
    second = office.read(first.end)
    assert second is not None
    done = branch.apply(msgspec.structs.replace(second, start=Cursor()))
    assert branch.rows("order", "subject") == []
    assert [(p.field, p.code) for p in branch.problems] == [(0, "missing_target")]
    assert [(fate.field, fate.result) for fate in done.fates] == [(0, "parked")]
    office.write("order", order, subject="later")
    third = office.read(second.end)
    assert third is not None
    branch.apply(third)
    assert len(branch.problems) == 1, "the parked record has taken the change in"
    branch.apply(first)
    assert branch.rows("order", "subject", "client") == [("later", "1")]
    assert branch.codes == []


def test_a_relation_is_a_uid_and_nothing_else() -> None:
    office, branch = pair()
    client = office.create("client", code="1", name="c")
    exchange(office, branch)
    office.write("client", client, parent=client, tags=[])
    batch = office.read()
    assert batch is not None
    (section,) = batch.sections
    for bad in ("1", 1, [b"x" * 16]):
        section.rows[0].values[section.columns.index(office.numbers.field["client", "parent"])] = bad
        branch.apply(batch)
        assert branch.rows("client", "parent") == [None]
        assert branch.codes == ["value"]


def test_relations_travel_in_json_too() -> None:
    office, branch = pair()
    parent = office.create("client", code="1", name="parent")
    office.create("client", code="2", name="child", parent=parent)
    batch = office.read()
    assert batch is not None
    branch.apply(msgspec.json.decode(msgspec.json.encode(batch), type=Batch))
    assert sorted(branch.rows("client", "name", "parent"), key=str) == [("child", "1"), ("parent", None)]


# -- records that are not known --------------------------------------------------------------------------------


def test_fields_of_an_unknown_record_are_kept_and_the_record_wanted() -> None:
    office, branch, pk = known_tag(title="a", label="x")
    uid = office.uid("tag", pk)
    fresh = pair()[1]
    fresh.agreement = branch.agreement
    office.write("tag", pk, title="b")
    batch = office.read()
    assert batch is not None
    done = fresh.apply(msgspec.structs.replace(batch, start=Cursor()))
    assert (done.want, fresh.codes) == ([uid], ["unknown_record"])
    office.acked(batch, done)
    whole = office.read()
    assert whole is not None
    fresh.apply(whole)
    assert fresh.rows("tag", "title", "label") == [("b", "x")]
    assert fresh.codes == []


def test_a_record_that_is_gone_here_stays_gone() -> None:
    office, branch, pk = known_tag(title="a")
    branch.remove("tag", pk)
    office.write("tag", pk, title="b")
    done = send(office, branch)
    assert done is not None
    assert branch.rows("tag", "title") == []
    assert [(fate.result, fate.code) for fate in done.fates] == [("superseded", "deleted")]


def test_a_record_arrives_with_fields_that_were_never_edited() -> None:
    office, branch = pair()
    pk = office.create("tag", title="a", label="x")
    office.database.journal.clear()
    office.write("tag", pk, title="b")
    exchange(office, branch)
    assert branch.rows("tag", "title", "label") == [("b", "x")]
    (record,) = branch.database.records.values()
    assert [branch.numbers.key[field][1] for field in record.entries] == ["title"]


# -- one-way fields --------------------------------------------------------------------------------------------


def test_one_way_the_source_wins_with_a_stamp_above() -> None:
    office, branch = pair()
    pk = branch.create("client", code="1", name="c", phone="1")
    exchange(office, branch)
    branch.write("client", pk, phone="2")
    batch = branch.read()
    assert batch is not None
    office.write("client", "1", phone="local")
    exchange(office, branch)
    assert office.rows("client", "phone") == ["2"]
    assert [(row.won, row.lost) for row in office.conflicts] == [("2", "local")]
    (record,) = office.database.records.values()
    entry = record.entries[office.numbers.field["client", "phone"]]
    assert entry.version.origin[:16] == office.identity, "re-stamped here: one stamp never names two values"
    office.apply(batch)
    assert (office.rows("client", "phone"), len(office.conflicts)) == (["2"], 1)


def test_a_local_edit_of_a_downloaded_field_stays_until_the_next_value() -> None:
    office, branch = pair()
    pk = branch.create("client", code="1", name="c", phone="1")
    exchange(office, branch)
    office.write("client", "1", phone="local")
    exchange(office, branch)
    assert (office.rows("client", "phone"), branch.rows("client", "phone")) == (["local"], ["1"])
    branch.write("client", pk, phone="2")
    exchange(office, branch)
    assert office.rows("client", "phone") == ["2"]


# -- what is not let in ----------------------------------------------------------------------------------------


def test_fields_that_are_not_shared_are_refused() -> None:
    office, branch = pair()
    pk = office.create("client", code="1", name="c")
    exchange(office, branch)
    office.write("client", pk, name="d")
    batch = office.read()
    assert batch is not None
    (section,) = batch.sections
    section.columns = [office.numbers.field["client", "phone"]]
    section.rows[0].values = ["not yours to tell"]
    unknown = Section(999, [1], [Row(b"u" * 16, int(RowKind.WHOLE), [None], ["x"])])
    done = branch.apply(msgspec.structs.replace(batch, sections=[section, unknown]))
    assert branch.rows("client", "name", "phone") == [("c", None)]
    assert [(fate.result, fate.code) for fate in done.fates] == [("refused", "not_shared")] * 2
    assert done.totals.received == done.totals.applied + done.totals.superseded + done.totals.duplicate


def test_an_edit_from_the_future_is_parked() -> None:
    office, branch, pk = known_tag(title="a", label="x")
    office.offset = 3600 * SECOND
    office.write("tag", pk, title="future")
    office.store.seal()
    office.offset = 0
    exchange(office, branch)
    assert branch.rows("tag", "title") == ["a"]
    assert branch.codes == ["future"]
    branch.retry()
    assert branch.codes == ["future"]
    branch.offset = 3600 * SECOND
    branch.retry()
    assert (branch.codes, branch.rows("tag", "title")) == ([], ["future"])


def test_a_version_that_claims_to_know_the_future_is_parked() -> None:
    office, branch, pk = known_tag(title="a")
    office.write("tag", pk, title="b")
    batch = office.read()
    assert batch is not None
    row = batch.sections[0].rows[0]
    version = row.versions[0]
    assert version is not None
    batch.origins.append(branch.database.state.origin)
    row.versions = [WireVersion(version.time, version.origin, ((len(batch.origins) - 1, 2**62),))]
    branch.apply(batch)
    assert branch.codes == ["future"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: row.values.append("one more"),
        lambda row: setattr(row, "versions", [None, None, None, None]),
        lambda row: setattr(row, "versions", []),
        lambda row: setattr(row, "versions", [WireVersion(1, 99)]),
        lambda row: setattr(row, "versions", [WireVersion(1, -1)]),
        lambda row: setattr(row, "uid", b"short"),
        lambda row: setattr(row, "aliases", [b""]),
        lambda row: setattr(row, "kind", 77),
    ],
)
def test_a_batch_that_contradicts_itself_changes_nothing(spoil: object) -> None:
    office, branch = pair()
    office.create("tag", title="a")
    batch = office.read()
    assert batch is not None
    spoil(batch.sections[0].rows[0])  # type: ignore[operator]
    with pytest.raises(errors.Malformed):
        branch.apply(batch)
    assert (branch.rows("tag", "title"), branch.problems) == ([], [])


# -- the account -----------------------------------------------------------------------------------------------


def test_the_account_adds_up_and_is_heard() -> None:
    office, branch, pk = known_tag(title="a", label="x")
    office.write("tag", pk, title="early")
    branch.write("tag", pk, title="late")
    exchange(office, branch)
    for here, there in ((office, branch), (branch, office)):
        kept = there.database.cursors[1].totals
        assert here.database.cursors[1].peer_totals == kept
        assert kept.received == kept.applied + kept.superseded + kept.duplicate + kept.parked


def test_an_older_account_does_not_replace_a_newer_one() -> None:
    office, branch = pair()
    office.create("tag", title="a")
    batch = office.read()
    assert batch is not None
    done = branch.apply(batch)
    again = branch.apply(batch)
    office.acked(batch, again)
    office.acked(batch, done)
    assert office.database.cursors[1].peer_totals == again.totals


def test_two_changes_of_one_record_in_one_batch() -> None:
    office, branch = pair()
    office.create("tag", title="a", label="x")
    batch = office.read()
    assert batch is not None
    section = batch.sections[0]
    section.rows.append(msgspec.structs.replace(section.rows[0], kind=int(RowKind.FIELDS)))
    done = branch.apply(batch)
    assert len(branch.rows("tag", "title")) == 1
    assert done.totals == Totals(4, 2, 0, 2)


def test_an_empty_batch_moves_the_cursor() -> None:
    _, branch = pair()
    done = branch.apply(Batch(Cursor(), Cursor(9, b"t"), [], []))
    assert (done.have, done.gap) == (Cursor(9, b"t"), False)
