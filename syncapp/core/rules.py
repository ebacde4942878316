"""Rules of a field: what becomes of two edits that did not know of each other.

A rule belongs to the field of a program, not to a link, and must be the same on every program that shares the field:
the handshake compares them (`core.mapping.agree`).
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple


class Policy(StrEnum):
    """Whose value stays when both programs have edited a field without knowing of each other."""

    LATEST = "latest"  # the later edit's
    ACTIVE = "active"  # the active program's
    PASSIVE = "passive"  # the passive program's
    ASK = "ask"  # each keeps its own until a person decides


#: Policies that name a side: where both ends of a link have further links, values would rotate under them.
SIDED = frozenset({Policy.ACTIVE, Policy.PASSIVE})


class Merge(StrEnum):
    """Whether one value wins, or both edits are joined."""

    VALUE = "value"  # one wins, by the policy
    SUM = "sum"  # numbers: both changes are added
    UNION = "union"  # many-to-many: additions and removals of both


class Stance(Enum):
    """What a policy says to one program about one link."""

    LATEST = "latest"
    OURS = "ours"
    THEIRS = "theirs"
    ASK = "ask"


class Rule(NamedTuple):
    """A field's rule; the default is what a field without one has."""

    policy: Policy = Policy.LATEST
    merge: Merge = Merge.VALUE

    def text(self) -> str:
        """The rule in one word, as the configuration file has it: ``sum``, ``union``, or the policy."""
        return self.policy.value if self.merge is Merge.VALUE else self.merge.value


DEFAULT = Rule()


def stance(policy: Policy, *, active: bool) -> Stance:
    """What ``policy`` says on a link of which this program is the active side, or the passive one."""
    if policy is Policy.LATEST:
        return Stance.LATEST
    if policy is Policy.ASK:
        return Stance.ASK
    return Stance.OURS if active is (policy is Policy.ACTIVE) else Stance.THEIRS
