"""What people choose: the answer to an open question, and what becomes of a value that lost a conflict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from syncapp import errors
from syncapp.core.changes import Record
from syncapp.core.clock import Version
from syncapp.store import questions
from syncapp.store.aliases import names_of
from syncapp.store.base import ASK, Backend, ConflictRow, ProblemRow, Setup
from syncapp.store.conflicts import portable_rows
from syncapp.store.deciding import KEEP, Decided, Decider, Decision
from syncapp.store.revival import Reviver
from syncapp.store.sealing import Numbering


class Answer(NamedTuple):
    """What a person says to a question: one of the two values, or another one (relations as keys of this program)."""

    choice: str  # ours | theirs | value
    value: Any = None


def answer(backend: Backend, setup: Setup, numbering: Numbering, problem: int, said: Answer) -> None:
    """Answer an open question; it ends all questions about that field of the record, since their values were there to
    see. What was not taken is kept in the conflict list.

    Raises:
        NoQuestion, RecordGone, TargetGone, ValueRefused, ChangeError: nothing was changed.
    """
    row = next(iter(backend.problems_by_id([problem])), None)
    if row is None or row.code != ASK:
        raise errors.NoQuestion(number=problem)
    asked = _questions_of(backend, row)
    cells = [(question, questions.cell_of(question)) for question in asked]
    versions = tuple(cell.version for _, cell in cells if cell.version is not None)
    value = {"ours": KEEP, "theirs": questions.cell_of(row).value}.get(said.choice, said.value)
    decision = Decision(row.uid, row.field, value, versions, local=said.choice == "value")
    (done,) = Decider(backend, setup, numbering).run([decision])
    if done.error is not None:
        raise done.error
    now = backend.now()
    record = backend.records_by_uid([row.uid])[row.uid]
    taken = backend.rows(record.table, [record.pk], [row.field])[record.pk][0]
    lost = [
        _kept(question, record, taken, done.version, cell.value, cell.version, now)
        for question, cell in cells
        if cell.version is not None
    ]
    if done.before is not None:
        lost.append(_kept(row, record, taken, done.version, done.replaced, done.before, now))
    rows = portable_rows(backend, setup, numbering, lost)
    backend.add_conflicts([kept for kept in rows if kept.lost != kept.won])


def _questions_of(backend: Backend, row: ProblemRow) -> list[ProblemRow]:
    """All open questions about the field of the record, over all links."""
    record = backend.records_by_uid([row.uid]).get(row.uid)
    names = {row.uid}
    if record is not None:
        names |= {*names_of(backend, [record])[record.id]}
    return [found for found in backend.standing(names) if found.code == ASK and found.field == row.field]


def _kept(
    row: ProblemRow, record: Record, won: Any, version: Version | None, lost: Any, theirs: Version, now: int
) -> ConflictRow:
    return ConflictRow(
        link=row.link,
        table=record.table,
        uid=record.uid,
        pk=record.pk,
        field=row.field,
        won=won,
        lost=lost,
        won_time=version.time if version else now,
        won_origin=version.origin if version else b"",
        lost_time=theirs.time,
        lost_origin=theirs.origin,
        created_at=now,
        resolved="decided",
    )


def settle(backend: Backend, setup: Setup, numbering: Numbering, conflict: int, *, restore: bool) -> None:
    """Settle a conflict: put the value that lost back, as a new edit, or leave (or take) the one that won.

    Either can be said again later, to change one's mind.

    Raises:
        NoConflict, AlreadySettled, RecordGone, TargetGone, ValueRefused, ChangeError: nothing was changed.
        NotDeleted, NotArchived, NotRestored: neither was it, of a record that was deleted.
    """
    row = next(iter(backend.conflicts_by_id([conflict])), None)
    if row is None:
        raise errors.NoConflict(number=conflict)
    wanted = "restored" if restore else "kept"
    if row.resolved == wanted:
        raise errors.AlreadySettled(number=conflict)
    if restore or row.resolved == "restored":
        value = row.lost if restore else row.won
        if row.table in setup.tables and row.field == setup.tables[row.table].status:
            _settle_life(Reviver(backend, setup, numbering), row, alive=value is not False)
            backend.resolve_conflicts([conflict], wanted)
            return
        (done,) = Decider(backend, setup, numbering).run([Decision(row.uid, row.field, value)])
        if done.error is not None:
            raise done.error
        _keep_replaced(backend, setup, numbering, row, value, done)
    backend.resolve_conflicts([conflict], wanted)


def _settle_life(reviver: Reviver, row: ConflictRow, *, alive: bool) -> None:
    """Of a conflict about the record itself: it comes back with the edits that were lost with it, or goes after all."""
    if alive:
        reviver.revive(row.uid)
    else:
        reviver.delete(row.uid, row.link)


def _keep_replaced(
    backend: Backend, setup: Setup, numbering: Numbering, row: ConflictRow, value: Any, done: Decided
) -> None:
    """What was put back may have replaced a third value, which came in between: that is kept too."""
    if done.version is None or done.before is None:
        return
    third = msgspec.structs.replace(
        row,
        id=0,
        won=value,
        lost=done.replaced,
        won_time=done.version.time,
        won_origin=done.version.origin,
        lost_time=done.before.time,
        lost_origin=done.before.origin,
        created_at=backend.now(),
        resolved="kept",
    )
    (third,) = portable_rows(backend, setup, numbering, [third])
    if third.lost not in (row.won, row.lost):
        backend.add_conflicts([third])


class Decisions:
    """The part of `store.Store` that carries out decisions. Each call is one transaction."""

    backend: Backend
    _numbering: Callable[[], Numbering]

    def decide(self, decisions: Sequence[Decision]) -> list[Decided]:
        """Carry out decisions, each whole or not at all; what became of each, in their order."""
        with self._deciding() as (setup, numbering):
            return Decider(self.backend, setup, numbering).run(decisions)

    def answer(self, question: int, said: Answer) -> None:
        """Answer an open question (the id of its problem); see `answer`."""
        with self._deciding() as (setup, numbering):
            answer(self.backend, setup, numbering, question, said)

    def restore(self, conflict: int) -> None:
        """Put the loser of a conflict back, as a new edit; see `settle`."""
        with self._deciding() as (setup, numbering):
            settle(self.backend, setup, numbering, conflict, restore=True)

    def keep(self, conflict: int) -> None:
        """Leave the winner of a conflict, or take it back where the loser was restored; see `settle`."""
        with self._deciding() as (setup, numbering):
            settle(self.backend, setup, numbering, conflict, restore=False)

    @contextmanager
    def _deciding(self) -> Iterator[tuple[Setup, Numbering]]:
        with self.backend.transaction():
            numbering = self._numbering()
            yield self.backend.setup(), numbering
            numbering.close()
