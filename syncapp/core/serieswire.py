"""What two programs tell each other of a shared series; see `core.series`."""

from __future__ import annotations

import msgspec

from syncapp.core.spans import Spans


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """A series as a hello declares it. ``field``: the sender's number of it.

    ``owner``: the owner's name as configured; ``owner_id``: its instance, as far as known. ``hops``: how far the sender
    is from the owner, not counting ways over the receiver: 0 is the owner, None: it knows none.
    """

    field: int
    mode: str
    format: str
    owner: str
    owner_id: bytes = b""
    hops: int | None = None


class Report(msgspec.Struct, frozen=True, array_like=True):
    """Holder → lessor, of one series. ``field``: the holder's number of it.

    ``life``: the holder's epoch, ``epoch``: the lessor's; ``got``: the newest grant of that epoch that is stored.
    ``want``: how many more numbers are asked for. ``free``: what the holder and those behind it have and have not used.
    ``top``: the greatest number that it knows of; ``census``: its records have been looked through for that.
    """

    field: int
    life: int
    epoch: int
    got: int
    want: int
    free: Spans = ()
    top: int = 0
    census: bool = False


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """Lessor → holder, of one series. ``field``: the lessor's number of it.

    ``life``: the holder's epoch that it is for, ``epoch``: the lessor's. ``serial`` 0: nothing is given, for the reason
    ``why``. ``void``: the holder has been dismissed; whatever it has left is no longer its own. ``census``: report
    with the greatest number among the records. ``hops``: as in `Offer`, as it is now.
    """

    field: int
    life: int
    epoch: int
    serial: int = 0
    spans: Spans = ()
    void: bool = False
    census: bool = False
    why: str = ""
    hops: int | None = None
