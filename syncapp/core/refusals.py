"""Why two programs will not talk, as errors: found here, or said by the peer."""

from __future__ import annotations

from syncapp import errors
from syncapp.core.messages import PROTOCOL, Bye
from syncapp.core.policy import SECOND

#: What a peer says of an error is shown to people: so much of it.
_BYE_PARAMS, _BYE_TEXT = 16, 300


def version_error(here: str, there: str, theirs: tuple[int, int]) -> errors.SyncError:
    """No common protocol version: which program is the older one."""
    kind = errors.VersionTooOldHere if theirs[0] > PROTOCOL[1] else errors.VersionTooOldThere
    return kind(here=here, there=there)


def clock_error(offset: int, bound: int) -> errors.SyncError:
    """The clocks are too far apart (µs)."""
    return errors.ClockTooFar(offset=f"{abs(offset) // SECOND} s", bound=f"{bound // SECOND} s")


def said(message: Bye) -> errors.SyncError:
    """The error that a peer names, whatever it sends along."""
    params = {k: _short(v) for k, v in list(message.params.items())[:_BYE_PARAMS] if k != "self"}
    code, mirrored = errors.mirrored(message.code[:_BYE_TEXT], params)
    try:
        return errors.from_code(code, mirrored)
    except TypeError:  # an error that is not made from params alone
        return errors.RefusedError(detail=code)


def _short(value: object) -> object:
    return value if isinstance(value, bool | int | float) else str(value)[:_BYE_TEXT]
