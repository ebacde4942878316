"""Backoff and read sizes."""

from syncapp.core.policy import READ_MAX, READ_MIN, SECOND, Backoff, ReadSize


def test_delays_double_up_to_the_most() -> None:
    backoff = Backoff(lambda: 1.0 - 1e-12, first=SECOND, most=10 * SECOND)
    assert [round(backoff.next() / SECOND) for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_jitter_is_between_half_and_whole() -> None:
    low, high = Backoff(lambda: 0.0, first=SECOND), Backoff(lambda: 0.999999, first=SECOND)
    assert low.next() == SECOND // 2
    assert SECOND * 0.99 < high.next() <= SECOND


def test_many_attempts_do_not_overflow() -> None:
    backoff = Backoff(lambda: 0.5)
    delays = [backoff.next() for _ in range(5000)]
    assert max(delays) <= 30 * SECOND
    assert delays[-1] == delays[100]


def test_reset() -> None:
    backoff = Backoff(lambda: 0.0, first=SECOND)
    first = backoff.next()
    backoff.next()
    backoff.reset()
    assert (backoff.attempt, backoff.next()) == (0, first)


def test_at_most_six_attempts_a_minute_after_the_first_one() -> None:
    """Against a server that accepts and hangs up at once."""
    backoff = Backoff(lambda: 0.0)
    for _ in range(8):
        backoff.next()
    assert 60 * SECOND / backoff.next() <= 6


def test_reads_grow_under_load_and_shrink_again() -> None:
    size = ReadSize()
    assert size.records == READ_MIN
    for _ in range(20):
        size.seen(full=True)
    assert size.records == READ_MAX
    size.seen(full=False)
    assert size.records == READ_MAX // 2
    for _ in range(20):
        size.seen(full=False)
    assert size.records == READ_MIN
