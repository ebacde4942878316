"""Writing what was decided: whole, singly where the database refuses, level by level."""

from tests.store.programs import exchange, pair, send


def test_a_unique_collision_parks_only_that_record() -> None:
    office, branch = pair()
    branch.create("tag", title="mine", label="taken")
    for label in ("a", "taken", "b"):
        office.create("tag", title=f"office {label}", label=label)
    send(office, branch)
    assert sorted(branch.rows("tag", "title")) == ["mine", "office a", "office b"]
    assert branch.codes == ["not_unique"]


def test_a_collision_that_is_corrected_is_solved_by_a_retry() -> None:
    office, branch = pair()
    mine = branch.create("tag", title="mine", label="taken")
    office.create("tag", title="office", label="taken")
    send(office, branch)
    branch.write("tag", mine, label="free")
    branch.retry()
    assert sorted(branch.rows("tag", "title")) == ["mine", "office"]
    assert branch.codes == []


def test_a_unique_value_that_is_passed_on_within_a_batch() -> None:
    """The second row takes what the first one gave up: whatever the order in the batch, nothing is parked."""
    office, branch = pair()
    rows = [office.create("tag", title=str(n), label=str(n)) for n in range(4)]
    exchange(office, branch)
    office.write("tag", rows[3], label="new")
    for n in (2, 1, 0):
        office.write("tag", rows[n], label=str(n + 1))
    exchange(office, branch)
    assert sorted(branch.rows("tag", "label")) == ["1", "2", "3", "new"]
    assert branch.codes == []


def test_records_that_refer_to_each_other_in_a_circle() -> None:
    office, branch = pair()
    first = office.create("client", code="1", name="first")
    second = office.create("client", code="2", name="second", parent=first)
    office.write("client", first, parent=second)
    exchange(office, branch)
    names = {str(n + 1): name for n, name in enumerate(branch.rows("client", "name"))}
    found = {names[str(n + 1)]: names[parent] for n, parent in enumerate(branch.rows("client", "parent"))}
    assert found == {"first": "second", "second": "first"}
    assert branch.codes == []


def test_a_record_that_refers_to_itself() -> None:
    office, branch = pair()
    pk = office.create("client", code="1", name="a")
    office.write("client", pk, parent=pk)
    exchange(office, branch)
    assert branch.rows("client", "parent") == ["1"]


def test_a_text_that_the_field_cannot_take_is_parked() -> None:
    office, branch = pair()
    pk = office.create("tag", title="a", label="x")
    exchange(office, branch)
    office.write("tag", pk, title="a\0b", label="y")
    exchange(office, branch)
    assert branch.rows("tag", "title", "label") == [("a", "y")], "only the bad field waits"
    assert branch.codes == ["value"]
    office.write("tag", pk, title="good")
    exchange(office, branch)
    assert (branch.rows("tag", "title"), branch.codes) == (["good"], [])


def test_many_to_many_waits_for_all_of_its_targets() -> None:
    office, branch = pair()
    tags = [office.create("tag", title=str(n), label="taken" if n else "free") for n in range(1)]
    blocked = office.create("tag", title="blocked", label="blocked")
    branch.create("tag", title="mine", label="blocked")
    client = office.create("client", code="1", name="c", tags=sorted([*tags, blocked]))
    exchange(office, branch)
    assert branch.rows("client", "name", "tags") == [("c", [])]
    assert branch.codes == ["missing_target", "not_unique"]
    branch.write("tag", "1", label="moved")
    branch.retry()
    assert len(branch.rows("client", "tags")[0]) == 2
    assert branch.codes == []
    assert client
