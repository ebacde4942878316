"""Names of records: where they are born, recognised, and called differently."""

from syncapp.core.changes import Batch, Record, RowKind
from syncapp.store.feed import Peer, Picked, pick
from syncapp.store.identity import Uids
from syncapp.store.sealing import Numbering
from tests.store.programs import LINK, Program, exchange, pair, send


def uids(program: Program) -> Uids:
    return Uids(program.backend, Numbering(program.backend, lambda n: bytes(range(n))))


def test_a_row_gets_its_uid_when_it_is_first_referred_to() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a")
    office.database.journal.clear()
    table, names = office.numbers.table["tag"], uids(office)
    assert names.translate(table, pk) is None
    names.learn({table: {pk, "999"}})
    uid = names.translate(table, pk)
    assert isinstance(uid, bytes)
    assert names.translate(table, "999") is None
    assert names.translate(table, [pk, "999"]) == [uid]
    assert names.translate(table, None) is None
    found = names.record(table, pk)
    assert isinstance(found, Record)
    assert [record.uid for record in names.records([uid, b"?"])] == [uid]
    again = uids(office)
    again.learn({table: {pk}})
    assert again.translate(table, pk) == uid


def test_rows_are_recognised_by_their_natural_key() -> None:
    office, branch = pair()
    office.create("client", code="7701", name="a")
    office.database.journal.clear()
    branch.create("client", code=" 7701", name="b")
    exchange(branch, office)
    assert office.rows("client", "code", "name") == [(" 7701", "b")]
    assert len(branch.rows("client", "name")) == 1


def test_one_natural_key_on_both_sides_at_once() -> None:
    """Each recognises the other's record while its own name is under way; edits flow both ways afterwards."""
    office, branch = pair()
    ours, theirs = office.create("client", code="1", name="a"), branch.create("client", code="1", name="b")
    one, other = office.read(), branch.read()
    assert one is not None
    assert other is not None
    there, here = branch.apply(one), office.apply(other)
    office.acked(one, there)
    branch.acked(other, here)
    exchange(office, branch)
    assert office.uid("client", ours) == branch.uid("client", theirs)
    assert office.rows("client", "name") == branch.rows("client", "name") == ["b"]
    assert {row.lost for row in (*office.conflicts, *branch.conflicts)} >= {"a"}
    office.write("client", ours, name="from the office")
    exchange(office, branch)
    branch.write("client", theirs, note="from the branch")
    exchange(office, branch)
    assert office.rows("client", "name", "note") == branch.rows("client", "name", "note")
    assert office.codes == branch.codes == []


def test_an_acknowledgement_that_overtakes_the_other_sides_record() -> None:
    """The office's record is paired before the branch's own, which is the same, has arrived under its own name."""
    office, branch = pair()
    ours, theirs = office.create("client", code="1", name="a"), branch.create("client", code="1", name="b")
    late = branch.read()
    send(office, branch)
    assert late is not None
    done = office.apply(late)
    assert office.codes == ["ambiguous"], "as far as the office can know, these are two records of the branch"
    branch.acked(late, done)
    exchange(branch, office)
    assert office.codes == branch.codes == []
    assert office.uid("client", ours) == branch.uid("client", theirs)
    assert office.rows("client", "name") == branch.rows("client", "name") == ["b"]


def test_a_record_known_by_both_names_is_found_by_either() -> None:
    office, branch = pair()
    pk = office.create("client", code="1", name="a")
    branch.create("client", code="1", name="b")
    exchange(office, branch)
    record = office.database.records[office.database.by_pk[office.numbers.table["client"], pk]]
    names = [record.uid, *office.backend.aliases([record.id]).get(record.id, [])]
    assert len(names) == 2
    assert record.uid == min(names)
    assert {found.id for found in office.backend.records_by_uid(names).values()} == {record.id}


def told_others(program: Program, pk: str, clear: int = 0) -> Picked | None:
    """What of a client goes to a third program, which has the record."""
    record = program.database.records[program.database.by_pk[program.numbers.table["client"], pk]]
    return pick(record, Peer(LINK + 1, program.agreement, b"third"), clear, paired=True)


def test_a_name_that_was_learnt_is_told_to_others_too() -> None:
    """Who knows the record by its old name only would wait for ever for what a relation calls by the new one."""
    office, branch = pair()
    ours = office.create("client", code="1", name="a")
    theirs = branch.create("client", code="1", name="b")
    branch.seal()
    send(office, branch)  # the branch recognises its own record, and tells the office
    head = office.database.state.head.seq
    exchange(office, branch)
    picked = told_others(office, ours, clear=head)
    assert picked is not None
    assert picked.kind is RowKind.WHOLE
    branch.write("client", theirs, note="a change of the record does not hide its name")
    exchange(office, branch)
    picked = told_others(office, ours, clear=head)
    assert picked is not None
    assert picked.kind is RowKind.WHOLE
    assert told_others(office, ours, clear=office.database.state.head.seq) is None, "once"
    assert office.read() is None, "those who told it know it"


def test_a_name_is_learnt_even_if_the_values_that_came_with_it_cannot_be_written() -> None:
    office, branch = pair()
    office.create("client", code="1", name="a")
    theirs = branch.create("client", code="1", name="b")
    branch.seal()
    send(office, branch)
    branch.write("client", theirs, code="2")
    office.create("client", code="2", name="another one")
    batch = send_batch(branch, office)
    assert office.codes == ["not_unique"]
    row = batch.sections[0].rows[0]
    assert len({row.uid, *row.aliases}) == 2
    assert {row.uid, *row.aliases} <= office.database.by_uid.keys()


def send_batch(source: Program, target: Program) -> Batch:
    """One batch from ``source`` to ``target``, which is looked at afterwards."""
    batch = source.read()
    assert batch is not None
    source.acked(batch, target.apply(batch))
    return batch


def test_two_rows_with_one_key_are_ambiguous_and_solved_by_hand() -> None:
    office, branch = pair()
    first = branch.create("client", code="x", name="a")
    exchange(branch, office)
    branch.write("client", first, code="y")
    branch.create("client", code="x", name="b")
    office.write("client", "1", note="so that the code is still x here")
    batch = branch.read()
    assert batch is not None
    done = office.apply(batch)
    branch.acked(batch, done)
    exchange(branch, office)
    office.retry()
    assert office.codes == []
    assert sorted(office.rows("client", "code", "name")) == [("x", "b"), ("y", "a")]
