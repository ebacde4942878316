"""Signals for the program that syncapp works in (see ``docs/host-logic.md``)."""

from __future__ import annotations

from django.dispatch import Signal

#: A record was created, changed or deleted here because of a peer's change. Sent once a record, after the commit, by
#: the process that drives the link; whether the table is applied in bulk or through ``save()``.
#:
#: ``sender``: the model; ``link``: the link's name; ``table``: the model's label; ``pk``: the primary key; ``created``,
#: ``deleted``: whether it was; ``fields``: names of the fields that were written, in order.
record_applied = Signal()
