"""A fault that stays holds up what is behind it and nothing else."""

from __future__ import annotations

import pytest

from syncapp import errors
from syncapp.store import locking
from syncapp.store.ledger import Ledger
from tests.simulation.liveness import Fault, Siege
from tests.simulation.oracle import Violation


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, 60, 20))
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_the_rest_goes_on(fault: Fault, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "PAUSES", ())  # nobody lets go within a moment here
    for seed in range(first, first + 20):
        try:
            Siege(seed, fault).run()
        except Exception as error:
            raise AssertionError(f"{fault.name}, seed {seed}: {type(error).__name__}: {error}") from error


def test_one_bad_record_that_ends_the_conversation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds have teeth: whoever cannot park a value, and gives up instead, never gets beyond it."""

    def park(self: Ledger, *args: object, **options: object) -> None:
        raise errors.Malformed(detail="a value that is not taken")

    monkeypatch.setattr(Ledger, "park", park)
    with pytest.raises(Violation, match="stands still"):
        live_on(10)


def live_on(seeds: int) -> None:
    for seed in range(seeds):
        siege = Siege(seed, Fault.REFUSED)
        siege.lossy = True  # the harness itself takes a protocol error for a mistake on ordered roads
        siege.run()
