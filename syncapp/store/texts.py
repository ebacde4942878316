"""Words and sentences for people that no exception carries: states, suspended fields, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext, ngettext

from syncapp import errors
from syncapp.core import mapping, recognition, relations
from syncapp.errors import N_, render

#: state → its word.
STATES: dict[str, str] = {
    "connected": N_("Connected"),
    "connecting": N_("Reconnecting"),
    "offline": N_("Offline"),
    "paused": N_("Paused"),
    "refused": N_("Refused"),
    "attention": N_("Action required"),
    "never": N_("Waiting for first contact"),
}

#: state → what it means when the engine gave no reason of its own.
PLAIN_REASONS: dict[str, str] = {
    "connecting": N_("The connection is being set up."),
    "offline": N_("The other program does not answer. Changes are kept and sent when it returns."),
    "paused": N_("Paused here. Changes are kept and sent when the link is resumed."),
    "refused": N_(
        "One of the two programs refused the connection. Compare the settings of the link on both sides."
    ),
    "attention": N_("The link needs a decision before it can go on."),
}
NEVER_ACTIVE = N_("The other program has not been reached yet.")
NEVER_PASSIVE = N_(
    "The other program has not called yet. Create an active link there with this program's address and "
    "the same password."
)
NOT_RUNNING = N_("The sync process of this program is not running. Start it: manage.py runsync (or serve).")
CUT_OFF = N_(
    "This program was stopped or restarted while the other one was connected. The other program calls "
    "again by itself."
)
CLOCKS_DIFFER = N_("Clocks differ by {offset}. Set the clock of both machines.")
DELETIONS_WAIT = N_(
    "Deletions that the other program has not heard of: {count}. They are remembered until it has; if it never comes "
    "back, remove the link."
)

#: code of a notice → what happened to the link and has been dealt with.
NOTICES: dict[str, str] = {
    "was_restored_here": N_(
        "This program was restored from a backup (noticed on {at}). Its last exchange with {peer} in that backup was "
        "on {since}: what was changed in both programs since then was sent again."
    ),
    "was_restored_there": N_(
        "{peer} was restored from a backup (noticed on {at}). Its last exchange with this program in that backup was "
        "on {since}: what was changed in both programs since then was sent again."
    ),
    **{
        error.code: error.template
        for error in (errors.SeriesNotThere, errors.SeriesDiffers, errors.TwoOwners, errors.NoOwner)
    },
}

#: code of `core.mapping` → why a mapped field does not flow.
SUSPENDED: dict[str, str] = {
    mapping.SUSPENDED_NOT_MAPPED: N_(
        'The field "{field}" is not mapped in the other program. Map it there too.'
    ),
    mapping.SUSPENDED_NO_FIELD: N_(
        'The field "{peer}" does not exist in the other program. Choose the peer\'s field for "{field}" anew.'
    ),
    mapping.SUSPENDED_DIRECTIONS: N_(
        'The directions of "{field}" do not meet: neither program sends what the other one takes. '
        "Change the direction on one side."
    ),
    mapping.SUSPENDED_TYPES: N_('Types of "{field}" differ: {here} ↔ {there}. Choose another field.'),
    mapping.SUSPENDED_LOSSY: N_(
        'Values of "{field}" would lose something on the way ({here} here, {there} there): {loss}. Allow the loss in '
        "the mapping, or choose another field."
    ),
    mapping.SUSPENDED_TWO_MAPS: N_(
        'Both programs translate the values of "{field}" by a map. Remove the map in one of them.'
    ),
    mapping.SUSPENDED_OTHER_PAIR: N_(
        'The two programs pair "{field}" differently. Choose the same pair of fields on both sides.'
    ),
    mapping.SUSPENDED_TWO_TABLES: N_(
        'The table "{table}" is already exchanged with another table of the other program; "{field}" would '
        "join a second one."
    ),
    mapping.SUSPENDED_RULES: N_(
        'The rules of "{field}" differ: {here} here, {there} there. Set the same rule in both programs.'
    ),
    mapping.SUSPENDED_RULE_TYPES: N_(
        'Sums of "{field}" cannot be exchanged between {here} here and {there} there. Make both fields whole numbers, '
        "or decimals with the same number of places."
    ),
    mapping.SUSPENDED_RING: N_(
        'The rule "{policy}" of "{field}" cannot be kept: both programs share the field with others too, and values '
        "would go round in circles. Set the rule to latest or ask, or let one of the two share it with this link only."
    ),
    mapping.SUSPENDED_USERS: N_(
        'Users are found by {here} here and by {there} in the other program, so "{field}" does not flow. Set '
        "user_matching of the link to the same in both programs."
    ),
    relations.NO_TARGET: N_(
        'The targets of "{field}" ({here} here, {there} there) are not exchanged with each other. Map both tables on '
        'this link, or let the receiver find them by match fields (missing = "match").'
    ),
    relations.NO_MATCH_FIELDS: N_(
        'Records that "{field}" refers to ({here} here, {there} there) cannot be found by match fields: they have none '
        "in the receiving program, or the other one has not got these. Set match_by of that table."
    ),
    recognition.NO_MATCH_VALUE: N_(
        'Records of "{table}" are recognised by "{field}", which does not come along: they would all be created once '
        "more. Name it in match_by of both programs, or map it so that its receiver gets it; until then this waits."
    ),
    mapping.SUSPENDED_LATER: N_(
        'The field "{field}" is noted, but values of its kind (the content of files) are not exchanged in this version.'
    ),
}
SUSPENDED[mapping.SUSPENDED_NEEDS_TIME_ADDED] = N_(
    'Deletions of "{table}" are not exchanged: map time_added of that table too, in both programs.'
)
SUSPENDED[mapping.SUSPENDED_FILTER] = N_(
    'The row filter asks about "{column}", which the table no longer has as it was. Nothing of the table is sent until '
    "the filter is corrected in the configuration."
)
SUSPENDED[mapping.SUSPENDED_TRANSFORM] = N_(
    'Values of "{field}" are transformed on the way, which needs one direction and the merge kind value. Change the '
    "direction on one side, or take out the transform."
)
SUSPENDED_UNKNOWN = N_('The field "{field}" does not flow ({code}).')


def state_word(state: str) -> str:
    """The word for ``state`` in the active language."""
    return gettext(STATES.get(state, state))


def suspended_sentence(code: str, params: Mapping[str, Any]) -> str:
    """Why a mapped field does not flow, in the active language."""
    template = SUSPENDED.get(code, SUSPENDED_UNKNOWN)
    return render(gettext(template), {"code": code, **params})


def duration(microseconds: int) -> str:
    """A length of time in its one or two largest units: ``2 min 5 s``."""
    seconds = round(abs(microseconds) / 1_000_000)
    if seconds < 60:
        return gettext("{n} s").format(n=seconds)
    if seconds < 3600:
        minutes, rest = divmod(seconds, 60)
        return gettext("{n} min").format(n=minutes) + (" " + gettext("{n} s").format(n=rest) if rest else "")
    if seconds < 86_400:
        hours, rest = divmod(seconds // 60, 60)
        return gettext("{n} h").format(n=hours) + (" " + gettext("{n} min").format(n=rest) if rest else "")
    days = seconds // 86_400
    return ngettext("{n} day", "{n} days", days).format(n=days)


def inert(text: str, limit: int = 0) -> str:
    """``text`` made harmless for terminals and pages: no control or direction characters, one line.

    Line ends and tabs become visible signs; with ``limit`` a longer text is cut and ends in “…”.
    """
    shown = "".join(_harmless(character) for character in text)
    return shown[: limit - 1] + "…" if limit and len(shown) > limit else shown


#: Characters that turn the direction of the text around them, or hide within it.
_UNSEEN = frozenset(
    "\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
_VISIBLE = {"\n": "⏎", "\t": "⇥"}


def _harmless(character: str) -> str:
    if character.isprintable() and character not in _UNSEEN:
        return character
    return _VISIBLE.get(character, " " if character.isspace() else "")
