"""One run of a process, and in which epoch it makes edits.

A program whose database was put back from a backup does not know it: it finds out at the next contact, by its peers'
cursors (`store.meeting`). Meanwhile people work in it. Were their edits stamped in the old epoch, a stamp could name
two values: that of an edit that was lost here but lives on elsewhere, and that of the new one; and the new one would
look as if its author had known the lost ones.

A database can only be put back while the program is stopped. So each run makes its edits in an epoch of its own until
every link has been in contact since it began: then either nothing was put back, and the run goes on in the program's
epoch, or the program has taken a new one. A peer that was restored itself proves nothing, nor does one that cannot be
sure yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from syncapp.core.clock import epoch_of, instance_of, make_origin, next_epoch
from syncapp.store.base import Backend, Contacts
from syncapp.store.waited import Waited


class _Beginning(NamedTuple):
    """What the database said when the run began: the program's epoch, and of each link how many contacts it had had,
    and how many proofs; ``at``: when that was.
    """

    epoch: int
    meets: Mapping[int, int]
    proofs: Mapping[int, int]
    at: int


class Run:
    """One run of a process; all of its stores share it."""

    def __init__(self) -> None:
        self._began: _Beginning | None = None
        self._sure = False
        self._epoch = 0
        self.waited = Waited()

    def begin(self, backend: Backend) -> _Beginning:
        """Note how things stand before this run has done anything; call it first in whatever counts a contact."""
        if self._began is None:
            proofs = backend.proofs()
            meets = {link: backend.contacts(link).meets for link in proofs}
            epoch, now = epoch_of(backend.instance().origin), backend.now()
            self._began = _Beginning(epoch, meets, proofs, now)
        return self._began

    def origin(self, backend: Backend, origin: bytes) -> bytes:
        """The origin of edits made now; ``origin``: the program's."""
        sure = self._sure or self.sure(backend)
        if self._began is not None:
            self.waited.until = self._began.at
        if sure:
            return origin
        self._epoch = self._epoch or next_epoch(backend.now(), epoch_of(origin))
        return make_origin(instance_of(origin), self._epoch)

    def sure(self, backend: Backend, beside: int = 0) -> bool:
        """Whether the database cannot have been put back unnoticed; ``beside``: whatever this link may still tell."""
        if self._sure:
            return True
        began = self.begin(backend)
        unproved = (
            set() if epoch_of(backend.instance().origin) != began.epoch else self._unproved(backend, began)
        )
        self._sure = not unproved
        return unproved <= {beside}

    def _unproved(self, backend: Backend, began: _Beginning) -> set[int]:
        """The links that were there when the run began and have proved nothing since."""
        now = backend.proofs() if began.proofs else {}
        return {link for link, proofs in began.proofs.items() if now.get(link) == proofs}

    def met(self, contacts: Contacts) -> bool:
        """Whether the link has been in contact since the run began."""
        assert self._began is not None
        return contacts.meets > self._began.meets.get(contacts.link, 0)
