"""Fields and tables that were there when something was agreed on, or parked, and are not there at present.

A program is migrated while others are not, perhaps while it is connected. What flows is agreed on in the handshake,
from the catalogues of that moment; what was parked may be older still. Nothing of it is dropped: it waits until the
field is there again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from syncapp import errors
from syncapp.core.mapping import Agreement
from syncapp.store.base import Backend, ProblemRow, Setup
from syncapp.store.parked import Incoming

if TYPE_CHECKING:
    from syncapp.store.ledger import Ledger

#: When what waits for a table is looked at again, µs.
LATER = 3600_000_000


def check(agreement: Agreement, setup: Setup) -> None:
    """Raise `errors.Reconfigured` where the agreement speaks of what is gone: both are to agree anew."""
    for number, flow in agreement.tables.items():
        table = setup.tables.get(number)
        if table is None or not (flow.out.keys() | set(flow.into.values())) <= table.fields.keys():
            raise errors.Reconfigured()


def of_present_tables(backend: Backend, setup: Setup, rows: list[ProblemRow], now: int) -> list[ProblemRow]:
    """Those of ``rows`` whose table is there; the others are put off."""
    gone = [row for row in rows if row.table not in setup.tables]
    if gone:
        backend.save_problems([msgspec.structs.replace(row, next_try=now + LATER) for row in gone])
    return [row for row in rows if row.table in setup.tables]


def set_aside(changes: list[Incoming], setup: Setup, ledger: Ledger) -> list[Incoming]:
    """``changes`` without the values of fields that are not there, which wait by themselves from now on."""
    found = []
    for change in changes:
        gone = change.cells.keys() - setup.tables[change.table].fields.keys()
        for field in sorted(gone):
            ledger.park(change, field, "no_field", {"table": ledger.label(change), "field": field})
            del change.cells[field]
        if change.cells or not gone:
            found.append(change)
    return found
