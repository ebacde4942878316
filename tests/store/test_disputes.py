"""Conflicts and questions as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from project.crm.models import Client, Tag
from syncapp import conf, errors
from syncapp.core.mapping import FieldType, Kind
from syncapp.models import Conflict, Link, LogEntry, Problem
from syncapp.store import catalogue, control, disputes
from syncapp.store.base import FieldInfo
from syncapp.store.choices import Answer
from syncapp.store.entered import entered
from syncapp.store.history import problem_lines
from syncapp.store.status import link_statuses, now_us
from tests.disputes import THIRD, Disputed, disputed

pytestmark = pytest.mark.django_db


def client(scene: Disputed, **values: Any) -> tuple[Client, bytes]:
    made = Client.objects.create(**{"name": "Ivanov", "phone": "1", **values})
    return made, scene.uid("crm.Client", made.pk)


def test_a_question_shows_both_values_with_their_programs_and_times() -> None:
    scene = disputed()
    made, uid = client(scene)
    scene.comes("crm.Client", uid, "phone", "2")
    (line,) = disputes.question_lines()
    assert (line.link, line.table, line.record, line.key) == ("Branch", "crm.Client", "Ivanov", str(made.pk))
    assert (line.field, line.uid) == ("phone", uid.hex())
    assert (line.ours.value, line.ours.program) == ("1", conf.current().title)
    assert (line.theirs.value, line.theirs.program) == ("2", "Branch office")
    assert line.ours.at is not None
    assert line.theirs.at is not None
    assert line.ours.at < line.theirs.at
    assert disputes.question_line(line.id) == line
    assert disputes.question_line(line.id + 1) is None


def test_a_conflict_shows_what_won_and_what_lost() -> None:
    scene = disputed()
    _made, uid = client(scene)
    scene.comes("crm.Client", uid, "name", "Petrov", THIRD)
    (line,) = disputes.conflict_lines()
    assert (line.won.value, line.lost.value, line.resolved) == ("Petrov", "Ivanov", "")
    assert line.won.program == THIRD.hex()[:8], "a program that nobody here has met"
    assert line.won.instance == THIRD[:16].hex()
    assert line.lost.program == conf.current().title
    assert line.record == "Petrov", "the record is called what it is called now"


def test_relations_are_shown_by_what_they_refer_to() -> None:
    scene = disputed()
    red, blue = Tag.objects.create(name="red"), Tag.objects.create(name="blue")
    made, _ = client(scene)
    made.tags.set([red])
    uid, other = scene.uid("crm.Client", made.pk), scene.uid("crm.Tag", blue.pk)
    scene.comes("crm.Client", uid, "tags", [other])
    (question,) = disputes.question_lines()
    assert (question.ours.value, question.theirs.value) == ("red", "blue")
    scene.store.answer(question.id, Answer("theirs"))
    assert [tag.name for tag in made.tags.all()] == ["blue"]
    (conflict,) = disputes.conflict_lines()
    assert (conflict.won.value, conflict.lost.value, conflict.resolved) == ("blue", "red", "decided")


def test_what_is_empty_or_cannot_be_read_says_so() -> None:
    scene = disputed()
    made, _ = client(scene)
    made.tags.set([Tag.objects.create(name="red")])
    uid = scene.uid("crm.Client", made.pk)
    scene.comes("crm.Client", uid, "tags", [])
    assert disputes.question_lines()[0].theirs.value == "(empty)"
    scene.comes("crm.Client", uid, "name", "x")
    Conflict.objects.update(lost=b"\xc1")
    assert disputes.conflict_lines()[0].lost.value is None


def test_texts_are_inert() -> None:
    scene = disputed()
    _made, uid = client(scene)
    scene.comes("crm.Client", uid, "phone", "\u202e\n")
    assert disputes.question_lines()[0].theirs.value == "⏎"


def test_pages() -> None:
    scene = disputed()
    for number in range(3):
        _made, uid = client(scene, name=f"c{number}")
        scene.comes("crm.Client", uid, "phone", "2")
        scene.comes("crm.Client", uid, "name", "other")
    asked = disputes.question_lines(limit=2)
    assert len(asked) == 2
    (third,) = disputes.question_lines(after=asked[-1].id)
    assert [line.record for line in (*asked, third)] == ["other"] * 3
    assert len({line.id for line in (*asked, third)}) == 3
    lost = disputes.conflict_lines(limit=2)
    assert [line.id for line in lost] == sorted((line.id for line in lost), reverse=True)
    assert len(disputes.conflict_lines(before=lost[-1].id)) == 1
    scene.store.keep(lost[0].id)
    assert len(disputes.conflict_lines(open_only=True)) == 2
    assert disputes.conflict_lines(scene.link + 1) == disputes.question_lines(scene.link + 1) == []


def test_questions_are_conflicts_and_no_problems() -> None:
    scene = disputed()
    _made, uid = client(scene)
    scene.comes("crm.Client", uid, "phone", "2")
    scene.comes("crm.Client", uid, "name", "x")
    (status,) = link_statuses(now_us())
    assert (status.conflicts, status.problems) == (2, 0)
    assert problem_lines() == []
    (question,) = disputes.question_lines()
    assert control.retry_problems(None) == control.skip_problems([question.id], 5) == 0
    assert Problem.objects.count() == 1
    scene.store.answer(question.id, Answer("ours"))
    scene.store.keep(disputes.conflict_lines(open_only=True)[0].id)
    (status,) = link_statuses(now_us())
    assert status.conflicts == 0


def test_a_question_whose_record_is_gone_is_still_shown() -> None:
    scene = disputed()
    made, uid = client(scene)
    scene.comes("crm.Client", uid, "phone", "2")
    key = str(made.pk)
    made.delete()
    (line,) = disputes.question_lines()
    assert (line.key, line.record, line.ours.value) == (key, key, "(empty)")


def test_the_field_of_a_question() -> None:
    scene = disputed()
    _made, uid = client(scene)
    scene.comes("crm.Client", uid, "phone", "2")
    (line,) = disputes.question_lines()
    table, field = disputes.question_field(line.id)
    assert (table, field.name) == ("crm.Client", "phone")
    with pytest.raises(errors.NoQuestion):
        disputes.question_field(line.id + 1)


def test_the_log_tells_what_was_decided() -> None:
    scene = disputed()
    Link.objects.update(log=True)
    catalogue.bump("default")
    _made, uid = client(scene)
    scene.comes("crm.Client", uid, "phone", "2")
    scene.store.answer(disputes.question_lines()[0].id, Answer("theirs"))
    rows = LogEntry.objects.order_by("id").values_list("way", "before", "after", "result", "detail")
    assert ("in", None, '"2"', "parked", "ask") in rows
    assert ("in", None, '"2"', "superseded", "decided") in rows
    assert ("out", '"1"', '"2"', "queued", "") in rows


# -- what people enter --------------------------------------------------------------------------------------


def info(kind: Kind, **limits: Any) -> FieldInfo:
    return FieldInfo(1, "x", FieldType(kind, **limits))


@pytest.mark.parametrize(
    ("field", "value", "wire"),
    [
        (info(Kind.TEXT), " a ", " a "),
        (info(Kind.INTEGER), "12", 12),
        (info(Kind.FLOAT), "1.5", 1.5),
        (info(Kind.DECIMAL, digits=9, places=2), "3.5", "3.50"),
        (info(Kind.DECIMAL, digits=9, places=2), 3, "3.00"),
        (info(Kind.BOOLEAN), "Yes", True),
        (info(Kind.BOOLEAN), False, False),
        (info(Kind.JSON), '{"a": 1}', {"a": 1}),
        (info(Kind.JSON), [1], [1]),
        (info(Kind.RELATION, target="x.Y"), 7, "7"),
        (info(Kind.RELATIONS, target="x.Y"), "10, 9", ["10", "9"]),
        (info(Kind.RELATIONS, target="x.Y"), [3, "4"], ["3", "4"]),
        (info(Kind.RELATIONS, target="x.Y"), "", []),
        (info(Kind.DATE), "2026-03-01", "2026-03-01"),
        (info(Kind.INTEGER), None, None),
    ],
)
def test_values_as_people_enter_them(field: FieldInfo, value: Any, wire: Any) -> None:
    assert entered("x.X", field, value) == wire


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Kind.INTEGER, "x"), (Kind.BOOLEAN, "maybe"), (Kind.JSON, "{"), (Kind.BINARY, "x"), (Kind.INTEGER, [])],
)
def test_what_is_no_value_of_its_kind_says_so(kind: Kind, value: Any) -> None:
    with pytest.raises(errors.ValueRefused, match=r"x\.X"):
        entered("x.X", info(kind), value)
