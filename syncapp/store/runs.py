"""One run of a process, and in which epoch it makes edits.

A program whose database was put back from a backup does not know it: it finds out at the next contact, by its peers'
cursors (`store.meeting`). Meanwhile people work in it. Were their edits stamped in the old epoch, a stamp could name
two values: that of an edit that was lost here but lives on elsewhere, and that of the new one; and the new one would
look as if its author had known the lost ones.

A database can only be put back while the program is stopped. So each run makes its edits in an epoch of its own until
every link has been in contact since it began: then either nothing was put back, and the run goes on in the program's
epoch, or the program has taken a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from syncapp.core.clock import epoch_of, instance_of, make_origin, next_epoch
from syncapp.store.base import Backend, Contacts


class _Beginning(NamedTuple):
    """What the database said when the run began: the program's epoch, and how many contacts each link had had."""

    epoch: int
    meets: Mapping[int, int]


class Run:
    """One run of a process; all of its stores share it."""

    def __init__(self) -> None:
        self._began: _Beginning | None = None
        self._sure = False
        self._epoch = 0

    def begin(self, backend: Backend) -> _Beginning:
        """Note how things stand before this run has done anything; call it first in whatever counts a contact."""
        if self._began is None:
            self._began = _Beginning(epoch_of(backend.instance().origin), backend.meets())
        return self._began

    def origin(self, backend: Backend, origin: bytes) -> bytes:
        """The origin of edits made now; ``origin``: the program's."""
        if self._sure:
            return origin
        began, epoch = self.begin(backend), epoch_of(origin)
        if epoch != began.epoch or not self._unmet(backend, began):
            self._sure = True
            return origin
        self._epoch = self._epoch or next_epoch(backend.now(), epoch)
        return make_origin(instance_of(origin), self._epoch)

    def _unmet(self, backend: Backend, began: _Beginning) -> bool:
        """Whether a link that was there when the run began has not been in contact since."""
        now = backend.meets() if began.meets else {}
        return any(now[link] == meets for link, meets in began.meets.items() if link in now)

    def met(self, contacts: Contacts) -> bool:
        """Whether the link has been in contact since the run began: then its database cannot have been put back."""
        assert self._began is not None
        return contacts.meets > self._began.meets.get(contacts.link, 0)
