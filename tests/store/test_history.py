"""Log lines and problem lines."""

from __future__ import annotations

import pytest

from syncapp.store.history import log_lines, problem_lines, shown
from tests import rows

pytestmark = pytest.mark.django_db


def test_lines_name_everything() -> None:
    link = rows.link("Omsk", state={"peer_title": "Branch Omsk"})
    rows.log_entry(link, rows.field("phone"), detail="")
    rows.log_entry(link, rows.field("phone"), way="out", result="sent")
    out, line = log_lines()
    assert (line.link, line.source, line.table, line.record, line.field) == (
        "Omsk",
        "Branch Omsk",
        "crm.Client",
        "7",
        "phone",
    )
    assert (line.before, line.after, line.result) == ("1", "2", "applied")
    assert out.source == "here"


def test_pages_follow_each_other() -> None:
    link, other = rows.link("a"), rows.link("b")
    field = rows.field()
    ids = [rows.log_entry(link, field).pk for _ in range(5)]
    rows.log_entry(other, field)
    first = log_lines(link.pk, limit=2)
    assert [line.id for line in first] == ids[:-3:-1]
    assert [line.id for line in log_lines(link.pk, 10, before=first[-1].id)] == ids[2::-1]
    assert [line.id for line in log_lines(link.pk, 10, after=ids[3])] == [ids[4]]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, None),
        ("null", "(empty)"),
        ('""', ""),
        ('"<b>\\u001b[31m\\nx"', "<b>[31m⏎x"),
        ("12.50", "12.5"),
        ('["a", "b"]', '["a", "b"]'),
        ("not json", "not json"),
    ],
)
def test_values_are_inert(stored: str | None, expected: str | None) -> None:
    assert shown(stored) == expected


def test_problem_lines_carry_the_sentence() -> None:
    params = {"table": "crm.Client", "record": "7", "detail": "UNIQUE\x1b[0m"}
    rows.problem(rows.link(), rows.field("phone"), code="not_unique", params=params)
    (line,) = problem_lines()
    assert line.sentence == (
        'Table "crm.Client", record 7: the database refused it (UNIQUE[0m). Correct one of the two records.'
    )
    assert (line.field, line.table) == ("phone", "crm.Client")


def test_queries_do_not_grow_with_lines(django_assert_num_queries: pytest.FixtureRequest) -> None:
    link = rows.link(state={})
    for name in "abcdef":
        rows.log_entry(link, rows.field(name))
    with django_assert_num_queries(4):  # type: ignore[operator]
        assert len(log_lines()) == 6
