"""What a read of the feed finds for a peer."""

from syncapp.core.changes import Batch, RowKind
from tests.store.programs import Program, exchange, pair, send


def told(program: Program, batch: Batch | None) -> list[tuple[str, str, list[str]]]:
    """(table, kind, fields) of each row."""
    sections = batch.sections if batch else []
    return [
        (
            program.numbers.table_name[section.table],
            RowKind(row.kind).name,
            [program.numbers.key[field][1] for field in section.columns],
        )
        for section in sections
        for row in section.rows
    ]


def test_a_record_that_the_peer_lacks_goes_whole() -> None:
    office, _ = pair()
    pk = office.create("tag", title="a", label="x")
    office.database.journal.clear()
    office.write("tag", pk, title="b")
    batch = office.read()
    assert told(office, batch) == [("tag", "WHOLE", ["label", "title"])] or told(office, batch) == [
        ("tag", "WHOLE", ["title", "label"])
    ]
    assert batch is not None
    versions = dict(zip(batch.sections[0].columns, batch.sections[0].rows[0].versions, strict=True))
    assert versions[office.numbers.field["tag", "label"]] is None, "a baseline"


def test_then_only_what_changed() -> None:
    office, branch = pair()
    pk = office.create("tag", title="a", label="x")
    exchange(office, branch)
    office.write("tag", pk, label="y")
    assert told(office, office.read()) == [("tag", "FIELDS", ["label"])]


def test_what_came_from_the_peer_does_not_go_back() -> None:
    office, branch = pair()
    office.create("tag", title="a")
    send(office, branch)
    assert branch.read() is None


def test_what_does_not_flow_out_is_left_out() -> None:
    office, branch = pair()
    pk = office.create("client", name="a", code="1")
    exchange(office, branch)
    office.write("client", pk, phone="only the branch tells phones")
    assert office.read() is None


def test_a_deleted_record_is_not_sent() -> None:
    office, branch = pair()
    pk = office.create("tag", title="a")
    exchange(office, branch)
    office.remove("tag", pk)
    assert office.read() is None


def test_what_a_record_refers_to_goes_in_front_if_the_peer_lacks_it() -> None:
    office, _ = pair()
    parent = office.create("client", name="parent", code="1")
    tag = office.create("tag", title="t")
    office.database.journal.clear()  # old rows: they have never been edited since the link exists
    client = office.create("client", name="child", code="2", parent=parent, tags=[tag])
    office.create("order", subject="s", client=client)
    batch = office.read()
    assert batch is not None
    names = [office.numbers.table_name[section.table] for section in batch.sections]
    assert sorted(set(names)) == ["client", "order", "tag"]
    office_rows = [row.uid for section in batch.sections for row in section.rows]
    assert len(office_rows) == 4


def test_referred_records_arrive_with_their_relations() -> None:
    office, branch = pair()
    parent = office.create("client", name="parent", code="1")
    office.database.journal.clear()
    office.create("client", name="child", code="2", parent=parent)
    exchange(office, branch)
    assert sorted(branch.rows("client", "name")) == ["child", "parent"]
    assert branch.codes == []


def test_a_read_is_bounded_in_records_and_bytes() -> None:
    office, _ = pair()
    for n in range(5):
        office.create("tag", title="x" * 100, label=str(n))
    few = office.store.read(1, office.sent, office.agreement, b"?" * 16, 2)
    assert few.batch is not None
    assert (few.batch.end.seq, few.more) == (2, True)
    small = office.store.read(1, office.sent, office.agreement, b"?" * 16, 100, 250)
    assert small.batch is not None
    assert (small.batch.end.seq, small.more) == (2, True)
    rest = office.store.read(1, small.position, office.agreement, b"?" * 16, 100)
    assert (rest.position.seq, rest.more) == (5, False)


def test_a_change_of_a_record_that_moved_on_is_not_passed_over() -> None:
    """The reader's position passes the number of a change while its record already stands further on."""
    office, branch = pair()
    pk = office.create("client", name="a", code="1")
    exchange(office, branch)
    office.write("client", pk, name="b")
    others = [office.create("tag", title=str(n)) for n in range(3)]
    office.store.seal()
    office.write("client", pk, note="n")  # the record moves to the end of the feed
    for _ in range(6):
        batch = office.read(records=1)
        if batch is None:
            break
        branch.apply(batch)
        office.sent = batch.end
    assert len(others) == len(branch.rows("tag", "title"))
    assert branch.rows("client", "name", "note") == [("b", "n")]


def test_a_value_never_travels_under_an_older_stamp() -> None:
    """The journal is longer than one seal takes: the rows that are read are sealed first, also those in front."""
    office, branch = pair(seal_rows=1)
    tag = office.create("tag", title="old")
    exchange(office, branch)
    office.backend.drop_pairs(1, set(office.database.pairs[1]))
    client = office.create("client", code="1", name="c", tags=[tag])
    office.write("tag", tag, title="new")
    office.write("client", client, name="d")
    batch = office.read()
    assert batch is not None
    branch.apply(batch)
    if branch.rows("tag", "title") == ["new"]:
        office_record = office.database.records[office.database.by_uid[office.uid("tag", tag)]]
        branch_record = branch.database.records[branch.database.by_uid[office.uid("tag", tag)]]
        stamp = office_record.entries[office.numbers.field["tag", "title"]].version
        assert branch_record.entries[branch.numbers.field["tag", "title"]].version == stamp
    exchange(office, branch)
    assert branch.rows("tag", "title") == ["new"]
    assert branch.rows("client", "name") == ["d"]


def test_a_record_that_the_peer_wants_goes_whole_once_more() -> None:
    office, branch = pair()
    pk = office.create("tag", title="a", label="x")
    exchange(office, branch)
    from syncapp.core.effects import Acked

    want = [office.uid("tag", pk)]
    office.store.acked(1, Acked(office.sent, office.sent, None, [], want, [], office.sent.seq), office.token)
    (row,) = told(office, office.read())
    assert row[:2] == ("tag", "WHOLE")


def test_an_unedited_record_that_the_peer_wants_goes_too() -> None:
    office, _ = pair()
    tag = office.create("tag", title="old")
    office.database.journal.clear()
    office.create("client", code="1", tags=[tag])
    batch = office.read()
    assert batch is not None
    from syncapp.core.effects import Acked

    want = [office.uid("tag", tag)]
    office.store.acked(1, Acked(office.sent, batch.end, None, [], want, want, batch.end.seq), office.token)
    assert [row[:2] for row in told(office, office.read(batch.end))] == [("tag", "WHOLE")]
