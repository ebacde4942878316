"""What the applying of deletions and of revivals have in common: who says what on a link, and the account of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from syncapp.core.changes import Record
from syncapp.core.clock import Version
from syncapp.core.mapping import Agreement
from syncapp.core.merge import Merged, Outcome
from syncapp.store.aliases import add_names
from syncapp.store.base import Backend, LinkInfo, Setup
from syncapp.store.ledger import Ledger
from syncapp.store.parked import Cell, Incoming
from syncapp.store.sealing import Numbering
from syncapp.store.writing import Loser, Verdict, Write


class Context(NamedTuple):
    """Where changes are applied: over which link, as agreed, with which numbers and accounts."""

    backend: Backend
    setup: Setup
    link: LinkInfo
    agreement: Agreement
    numbering: Numbering
    ledger: Ledger
    now: int


class Lives:
    """The record statuses of one link within one application of changes."""

    def __init__(self, context: Context) -> None:
        self.backend, self.setup, self.link, self.agreement, self.numbering, self.ledger, self.now = context

    def status(self, table: int) -> int:
        """The number of the table's record status."""
        return self.setup.tables[table].status

    def sends(self, table: int) -> bool:
        """Whether this program tells the peer of its own deletions."""
        return self.status(table) in self.agreement.out_fields(table)

    def receives(self, table: int) -> bool:
        """Whether the peer's deletions count here."""
        flow = self.agreement.tables.get(table)
        return flow is not None and self.status(table) in flow.into.values()

    def two_way(self, table: int) -> bool:
        """Whether an edit may undo a deletion."""
        return self.sends(table) and self.receives(table)

    def word(self, change: Incoming) -> Cell | None:
        """What ``change`` says of the record's life; None where it says nothing."""
        return change.cells.get(self.status(change.table))

    def kills(self, change: Incoming) -> bool:
        """Whether ``change`` says that the record was deleted."""
        word = self.word(change)
        return word is not None and word.value is False

    def account(self, change: Incoming, record: Record, result: str, *, alive: bool = True) -> None:
        """Count and log what became of the word on the record's life; its problem, if it was one, is solved.

        ``alive``: what the status was before.
        """
        status = self.status(change.table)
        write = Write(change, record, create=False, ours={status: alive})
        outcome = Outcome.APPLY if result == "applied" else Outcome.KEEP
        write.verdicts[status] = Verdict(change.cells[status], Merged(outcome, None), False)
        self.ledger.count(write, status, change.cells[status], result)
        if change.problem:
            self.ledger.drop(change)

    def learn_names(self, change: Incoming, record: Record) -> None:
        """A record that is gone goes by all of its names too: by a new one it would come as one more record."""
        if change.names != (record.uid,):
            add_names(self.backend, record, change.names)

    def conflict(self, record: Record, won: Any, lost: Any, winner: Version, loser: Version) -> None:
        """Keep what lost in a dispute about the record's life."""
        self.ledger.keep(record, self.status(record.table), Loser(won, lost, winner, loser))
