"""The sending half's bookkeeping."""

from syncapp.core.changes import START, Batch, Cursor, Row, RowKind, Section, Totals
from syncapp.core.streaming import ADVANCE_AFTER, MAX_IN_FLIGHT, Sender

MS = 1000


def cursor(seq: int) -> Cursor:
    return Cursor(seq, bytes([seq % 256]))


def sender(position: int = 0, window: int = 10_000) -> Sender:
    made = Sender(0, 3 * MS)
    made.begin(cursor(position) if position else START, cursor(position) if position else START, window)
    return made


def batch(start: int, end: int, whole: bytes = b"") -> Batch:
    rows = [Row(whole, int(RowKind.WHOLE), [None], ["x"])] if whole else []
    return Batch(cursor(start), cursor(end), [], [Section(1, [2], rows)])


def read_and_send(made: Sender, end: int, now: int, *, more: bool = False, whole: bytes = b"") -> None:
    made.dirty = True
    read = made.next_read(now)
    assert read is not None
    assert made.read_done(cursor(end), more)
    made.sent_batch(batch(made.sent.seq, end, whole), 100, now)


def test_idle_reads_at_once_and_in_flight_lingers() -> None:
    made = sender()
    assert made.next_read(0) is not None
    assert made.next_read(0) is None, "one read at a time"
    made.read_done(cursor(1), False)
    made.sent_batch(batch(0, 1), 100, 0)
    made.dirty = True
    assert made.next_read(1 * MS) is None
    assert made.deadlines(0) == [3 * MS]
    assert made.next_read(3 * MS) is not None


def test_only_so_many_in_flight() -> None:
    made = sender()
    for n in range(MAX_IN_FLIGHT):
        read_and_send(made, n + 1, n * 10 * MS)
    made.dirty = True
    assert made.next_read(10**9) is None
    made.acked(cursor(1), set())
    assert made.next_read(10**9) is not None


def test_a_full_read_is_followed_by_a_bigger_one() -> None:
    made = sender()
    first = made.next_read(0)
    made.read_done(cursor(64), True)
    made.skip(cursor(64))
    second = made.next_read(0)
    assert first is not None
    assert second is not None
    assert (second.after, second.records) == (cursor(64), 2 * first.records)


def test_only_a_batchs_own_account_confirms_its_records() -> None:
    made = sender()
    read_and_send(made, 1, 0, whole=b"a")
    read_and_send(made, 2, 10 * MS, whole=b"b")
    assert made.acked(cursor(2), set()) == [b"b"], "the account of the first batch was lost"
    read_and_send(made, 3, 20 * MS, whole=b"c")
    assert made.acked(cursor(3), {b"c"}) == []
    read_and_send(made, 4, 30 * MS, whole=b"d")
    assert made.acked(cursor(4), None) == []


def test_clear_moves_only_with_reads_that_reached_the_end() -> None:
    made = sender()
    read_and_send(made, 5, 0, more=True)
    made.acked(cursor(5), set())
    made.note(cursor(5), Totals(1), [], [], [])
    first = made.take_ack(10**9)
    assert first is not None
    assert first.clear == 0
    made.stored()
    read_and_send(made, 9, 10 * MS)
    made.acked(cursor(9), set())
    made.note(cursor(9), Totals(2), [], [], [])
    second = made.take_ack(2 * 10**9)
    assert second is not None
    assert (second.start, second.have, second.clear) == (cursor(5), cursor(9), 9)


def test_a_rewind_forgets_ends_that_were_not_reached() -> None:
    made = sender()
    read_and_send(made, 5, 0)
    made.rewind(START)
    read_and_send(made, 7, 10 * MS, more=True)
    made.acked(cursor(7), set())
    made.note(cursor(7), None, [], [], [])
    ack = made.take_ack(10**9)
    assert ack is not None
    assert ack.clear == 0


def test_what_came_from_the_peer_is_passed_over_only_where_all_before_was_read() -> None:
    made = sender()
    read_and_send(made, 5, 0)
    made.pass_over(cursor(5), cursor(6))
    made.pass_over(cursor(6), cursor(7))
    assert made.position == cursor(7)
    made.pass_over(cursor(8), cursor(9))
    assert made.position == cursor(7), "something else came between"
    read_and_send(made, 14, 10 * MS, more=True)
    made.pass_over(cursor(14), cursor(15))
    assert made.position == cursor(14), "a record that moved to 15 may hold a change that was not read yet"


def test_the_greatest_totals_win_whatever_the_order() -> None:
    made = sender()
    read_and_send(made, 5, 0)
    for totals in (Totals(5, 5), Totals(3, 3), None, Totals()):
        made.note(cursor(5), totals, [], [], [])
    ack = made.take_ack(10**9)
    assert ack is not None
    assert ack.totals == Totals(5, 5)
    assert made.take_ack(10**9) is None


def test_a_long_skipped_stretch_is_told_at_once() -> None:
    made = sender()
    made.next_read(0)
    made.read_done(cursor(ADVANCE_AFTER), False)
    made.skip(cursor(ADVANCE_AFTER))
    assert made.advance(1, after=10**9) == Batch(START, cursor(ADVANCE_AFTER), [], [])


def test_what_cannot_be_an_acknowledgement() -> None:
    made = sender(10)
    assert made.sends(cursor(10))
    assert not made.sends(cursor(11))
    read_and_send(made, 11, 0)
    made.rewind(cursor(10))
    assert made.sends(cursor(11)), "it was sent once and may arrive after all"
