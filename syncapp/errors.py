"""Every error of syncapp, in one tree.

::

    SyncError
    ├── ConfigError            what an administrator wrote cannot be taken
    ├── RefusedError           the two programs will not talk: passwords, versions, clocks, identities
    ├── ProtocolError          the peer said something that the protocol does not allow
    ├── TransportError         the road to the peer is broken
    ├── StoreError             this program's own database
    ├── ChangeError            one change cannot be applied (it is parked as a problem)
    ├── SeriesError            no number of a shared series can be given, or the programs disagree about it
    └── DecisionError          what a person wants to decide is not there to be decided

An error has a ``code`` (stable, stored and sent), ``params`` (what the sentence names) and a ``template``
(the English sentence, which is also the message id of its translation). The sentence says what happened, to
which link, table, record or field, and what to do. :func:`sentence` renders a stored code again later,
through any translation function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from syncapp import details
from syncapp.details import N_ as N_


class SyncError(Exception):
    """Base of all errors of syncapp."""

    code: ClassVar[str] = "error"
    template: ClassVar[str] = N_("Something went wrong: {detail}")
    #: A permanent error is not healed by trying again: a person has to act.
    permanent: ClassVar[bool] = False

    def __init__(self, **params: Any) -> None:
        self.params = params
        super().__init__(render(self.template, params))


class _Gaps(dict[str, Any]):
    """Leaves an unknown placeholder visible rather than failing while an error is being reported."""

    def __missing__(self, key: str) -> str:
        return "…"


def render(template: str, params: Mapping[str, Any], translate: Callable[[str], str] = str) -> str:
    """Fill the placeholders of ``template``; a missing one reads “…”.

    A param that is one of the texts of `details` is passed through ``translate`` and may itself name other params.
    """
    filled = {key: _detail(value, params, translate) for key, value in params.items()}
    return template.format_map(_Gaps(filled))


def _detail(value: Any, params: Mapping[str, Any], translate: Callable[[str], str]) -> Any:
    # Only our own texts are templates: a peer's words are never taken for one.
    if isinstance(value, str) and value in details.KNOWN:
        return translate(value).format_map(_Gaps(params))
    return value


# -- configuration ------------------------------------------------------------------------------------------


class ConfigError(SyncError):
    code = "config"
    template = N_("The configuration cannot be applied: {detail}")
    permanent = True


class UnknownTable(ConfigError):
    code = "unknown_table"
    template = N_('Link "{link}": there is no table "{table}" here. Tables on offer: {offer}.')


class UnknownField(ConfigError):
    code = "unknown_field"
    template = N_('Link "{link}": table "{table}" has no field "{field}". Its fields: {offer}.')


class UnknownNumber(ConfigError):
    code = "unknown_number"
    template = N_('Link "{link}", field "{field}": the other program offers no field No. {number}.')


class UnknownDirection(ConfigError):
    code = "unknown_direction"
    template = N_(
        'Link "{link}", field "{field}": "{direction}" is not a direction. Use both, upload, download or off.'
    )


class DuplicateLink(ConfigError):
    code = "duplicate_link"
    template = N_('Two links are called "{link}". Give each link a name of its own.')


class MissingAddress(ConfigError):
    code = "missing_address"
    template = N_('Link "{link}" is active but has no address. Add the address of the other program.')


class IncompatibleTypes(ConfigError):
    code = "types"
    template = N_(
        'Link "{link}", field "{field}": types differ ({here} here, {there} there) and cannot be linked.'
    )


class LossyTypes(ConfigError):
    code = "lossy_types"
    template = N_(
        'Link "{link}", field "{field}": values would lose something on the way ({here} here, {there} there): {loss}. '
        "Add lossy = true to the field to allow it."
    )


class MapNotOneToOne(ConfigError):
    code = "map_not_one_to_one"
    template = N_(
        'Link "{link}", field "{field}": the map gives {value} for more than one value of the other program, so it '
        'cannot be sent back. Make the map one-to-one, or set direction = "download".'
    )


class TwoMaps(ConfigError):
    code = "two_maps"
    template = N_(
        'Link "{link}", field "{field}": both programs translate its values by a map. Remove the map in one of them.'
    )


class UnknownPeerField(ConfigError):
    code = "unknown_peer_field"
    template = N_('Link "{link}", field "{field}": the other program offers no field "{peer}".')


class BadConfigFile(ConfigError):
    code = "bad_file"
    template = N_("The configuration is not valid TOML: {detail}.")


class UnknownSetting(ConfigError):
    code = "unknown_setting"
    template = N_('{place}: there is no setting "{key}". Possible here: {offer}.')


class MisspeltSetting(ConfigError):
    code = "misspelt_setting"
    template = N_('{place}: there is no setting "{key}". Did you mean "{guess}"?')


class MissingSetting(ConfigError):
    code = "missing_setting"
    template = N_('{place}: "{key}" is missing.')


class WrongSetting(ConfigError):
    code = "wrong_setting"
    template = N_('{place}: "{key}" must be {expected}, not {found}.')


class NotAvailable(ConfigError):
    code = "not_available"
    template = N_("{place}: {what} is not available in this version. Remove it.")


class DuplicateTable(ConfigError):
    code = "duplicate_table"
    template = N_('Link "{link}": table "{table}" is listed twice. Put its fields together.')


class DuplicatePeerField(ConfigError):
    code = "duplicate_peer_field"
    template = N_(
        'Link "{link}": fields "{field}" and "{other}" name the same field of the other program, {peer}.'
    )


class SameColumn(ConfigError):
    code = "same_column"
    template = N_(
        'Link "{link}": fields "{field}" and "{other}" are one column of the table. Leave one of them out.'
    )


class BadMatchField(ConfigError):
    code = "bad_match_field"
    template = N_(
        'Link "{link}", table "{table}": records cannot be matched by "{field}" ({kind}). '
        "Use fields with a column of their own."
    )


class SoftOnlyForStatus(ConfigError):
    code = "soft_only_for_status"
    template = N_(
        'Rule of "{field}": deleted (and alive beside it) says how rows of a table tell that '
        "they are deleted, so the rule has to be about its record_status."
    )


class BadSoftColumn(ConfigError):
    code = "bad_soft_column"
    template = N_(
        'Rule of "{field}": "{column}" cannot say whether a record is deleted. Name a column of {table} itself that '
        "holds texts, numbers, truth values or dates."
    )


class BadSoftValue(ConfigError):
    code = "bad_soft_value"
    template = N_('Rule of "{field}": {value} cannot stand in "{column}": {detail}.')


class SoftNeedsAlive(ConfigError):
    code = "soft_needs_alive"
    template = N_(
        'Rule of "{field}": say in alive what stands in {columns} while a record lives. It '
        "must name the same columns as deleted, with another value."
    )


class SoftColumnMapped(ConfigError):
    code = "soft_column_mapped"
    template = N_(
        'Rule of "{field}": "{column}" says whether a record is deleted, and link "{link}" exchanges it as a field as '
        "well. Map record_status alone."
    )


class BadFilterField(ConfigError):
    code = "bad_filter_field"
    template = N_(
        'Link "{link}", table "{table}": the filter cannot ask about "{field}" ({kind}). Use columns of the table '
        "itself that hold texts, numbers, truth values or dates."
    )


class BadFilterValue(ConfigError):
    code = "bad_filter_value"
    template = N_(
        'Link "{link}", table "{table}", filter: "{field}" can never be {value} ({detail}). Correct the value.'
    )


class TransformBothWays(ConfigError):
    code = "transform_both_ways"
    template = N_(
        'Link "{link}", field "{field}": a transform works one way only, since two-way the changed value would come '
        "back as an edit. Use upload or download, or take the transform out."
    )


class TransformKind(ConfigError):
    code = "transform_kind"
    template = N_('Link "{link}", field "{field}": the transform "{step}" is not made for {kind} values.')


class TransformValue(ConfigError):
    code = "transform_value"
    template = N_(
        'Link "{link}", field "{field}", transform "{step}": {value} cannot be a value of the field ({detail}).'
    )


class TargetNotLinked(ConfigError):
    code = "target_not_linked"
    template = N_(
        'Link "{link}", field "{field}" refers to table "{target}", which is not part of the link. '
        "Add that table to the link, or leave the field out."
    )


class MatchNeedsFields(ConfigError):
    code = "match_needs_fields"
    template = N_(
        'Link "{link}", field "{field}": its target "{target}" is to be found by match fields, but has none on this '
        "link that can be sent. Add the table to the link, with match_by = [...]; its own fields may stay off."
    )


class EmptyRequired(ConfigError):
    code = "empty_required"
    template = N_(
        'Link "{link}", field "{field}" must be filled in, so missing = "empty" cannot be. Use "hold" or "match".'
    )


class UnconfirmedKey(ConfigError):
    code = "unconfirmed_key"
    template = N_(
        'Link "{link}", field "{field}": local record numbers of two programs collide sooner or later; '
        "records are paired without them. If they must be equal, confirm it: "
        'id = {{ direction = "{direction}", confirm = true }}.'
    )


class DuplicateRule(ConfigError):
    code = "duplicate_rule"
    template = N_('Two rules are about "{field}". Put them together.')


class SumNeedsNumber(ConfigError):
    code = "sum_needs_number"
    template = N_(
        'Rule of "{field}": only whole numbers and decimals that cannot be empty can be added up, not {kind}. '
        'Leave merge = "sum" out.'
    )


class UnionNeedsRelations(ConfigError):
    code = "union_needs_relations"
    template = N_(
        'Rule of "{field}": only many-to-many relations can be united, not {kind}. Leave merge = "union" out.'
    )


class PolicyWithMerge(ConfigError):
    code = "policy_with_merge"
    template = N_(
        'Rule of "{field}": with merge = "{merge}" nothing loses, so there is nothing for policy = "{policy}" to '
        "decide. Leave one of the two out."
    )


class PolicyRing(ConfigError):
    code = "policy_ring_here"
    template = N_(
        'Rule of "{field}": policy = "{policy}" cannot be kept. This program and that of link "{link}" both share '
        "the field with others too, and values would go round in circles. Use latest or ask, or make the field "
        "one-way on one of the links."
    )


class LinkAddress(ConfigError):
    code = "link_address"
    template = N_(
        'Link "{link}": "{address}" is not an address of a program: {detail}. '
        "Example: https://office.example.com"
    )


class MissingPassword(ConfigError):
    code = "missing_password"
    template = N_(
        'Link "{link}" has no password. Add one, the same in both programs: password = "env:NAME" takes it '
        "from the environment."
    )


class UnsetVariable(ConfigError):
    code = "unset_variable"
    template = N_(
        '{place}: the environment variable {name} is not set or empty. Set it, or leave "{key}" out to keep '
        "what is stored."
    )


class UnknownLink(ConfigError):
    code = "unknown_link_name"
    template = N_('There is no link "{link}" here. Links: {offer}.')


class UnknownPeerUser(ConfigError):
    code = "unknown_peer_user"
    template = N_(
        'Link "{link}": no user "{user}" of the other program has come along so far. Those who have: {offer}.'
    )


class UnknownLocalUser(ConfigError):
    code = "unknown_local_user"
    template = N_('There is no user "{user}" here. Create the user first, or name another login.')


class ConfigRefused(ConfigError):
    """Everything that is wrong with a configuration, in `errors`; nothing of it was applied."""

    code = "config_refused"
    template = N_("{detail}")

    def __init__(self, errors: Sequence[SyncError]) -> None:
        self.errors = tuple(errors)
        super().__init__(detail="\n".join(str(error) for error in errors))


# -- the two programs will not talk -------------------------------------------------------------------------


class RefusedError(SyncError):
    code = "refused"
    template = N_("The other program refused the connection: {detail}")
    permanent = True


class WrongPassword(RefusedError):
    code = "wrong_password"
    template = N_("Wrong password – enter the same password for this link in both programs.")


class UnknownLinkCode(RefusedError):
    code = "unknown_link"
    template = N_(
        "The other program has no link with this code. Copy the link's address from the passive program again."
    )


class NoPassiveLink(RefusedError):
    code = "no_passive_link"
    template = N_(
        "The other program has no passive link that is switched on. Create one there with the same password."
    )


class AmbiguousLink(RefusedError):
    code = "ambiguous_link"
    template = N_(
        "Several links of the passive program have this password. Add the link code to the address, "
        "or give each link its own password."
    )


class Impostor(RefusedError):
    code = "impostor"
    template = N_(
        "The other program could not prove that it knows the password. Nothing was sent. Check the address."
    )


class VersionMismatch(RefusedError):
    code = "version"
    template = N_("Versions differ: here {here}, there {there}.")


class VersionTooOldHere(VersionMismatch):
    code = "version_here"
    template = N_("Versions differ: here {here}, there {there}. Update this program.")


class VersionTooOldThere(VersionMismatch):
    code = "version_there"
    template = N_("Versions differ: here {here}, there {there}. Update the other program.")


class ClockTooFar(RefusedError):
    code = "clock"
    template = N_("Clocks differ by {offset}. Set the clock of both machines; at most {bound} is allowed.")


class NotSyncapp(RefusedError):
    code = "not_syncapp"
    template = N_(
        "{address} answers, but not as a synchronised program ({detail}). Check the address: it is the address "
        "of the site itself."
    )


class OtherInstance(RefusedError):
    code = "other_instance"
    template = N_(
        'Another program answers: this link belongs to "{known}", but "{found}" came. If the program was '
        "replaced on purpose, forget the old one: syncconfig rebind."
    )


class OtherInstanceThere(OtherInstance):
    code = "other_instance_there"
    template = N_(
        'The other program expects "{known}" on this link, not this program. If this program replaced it on '
        "purpose, forget the old one there: syncconfig rebind."
    )


class SameInstance(RefusedError):
    code = "same_instance"
    template = N_(
        "The other program has the identity of this one: one database is a copy of the other. "
        "Give the copy its own identity: syncconfig fork."
    )


class Restored(RefusedError):
    code = "restored"
    template = N_(
        "One of the two programs was restored from a backup. Both connect again and send each other what it lacks."
    )
    permanent = False


class RestoredHere(Restored):
    code = "restored_here"
    template = N_(
        "This program was restored from a backup: the other one remembers what happened here since. Both connect "
        "again and send each other what it lacks."
    )


class RestoredThere(Restored):
    code = "restored_there"
    template = N_(
        "The other program was restored from a backup: this one remembers what happened there since. Both connect "
        "again and send each other what it lacks."
    )


class Twin(RefusedError):
    code = "twin"
    template = N_(
        'Two running programs have one identity: "{first}" on {first_host} (seen {first_at}) and "{second}" on '
        "{second_host} (seen {second_at}). One database is a copy of the other. Give the copy an identity of its own: "
        "run syncconfig fork there. Until then both are refused; the other one is accepted again within {seconds} s."
    )


class TwinThere(Twin):
    code = "twin_there"
    template = N_(
        'The other program has heard from two programs with the identity of this one: "{first}" on {first_host} (seen '
        '{first_at}) and "{second}" on {second_host} (seen {second_at}). If this one is the copy, run syncconfig fork '
        "here; else run it there. Until then both are refused; the other one is accepted again within {seconds} s."
    )


class TwinHere(Twin):
    code = "twin_here"
    template = N_(
        "Another program uses the identity of this one: {peer} has heard from it since this process was last there. "
        "One database is a copy of the other. Give the copy an identity of its own: run syncconfig fork there."
    )


class TwinSaid(Twin):
    code = "twin_said"
    template = N_(
        "Another program uses the identity of the other program: this one has heard from it since. One database is a "
        "copy of the other. Give the copy an identity of its own: run syncconfig fork there."
    )


class BehindDeletions(RefusedError):
    code = "behind_deletions"
    template = N_(
        "The database of the other program is older than the deletions that this one still remembers: records that "
        "were deleted since may come back from there. Restore a newer backup there, or go on with that risk: "
        "syncconfig rebind LINK."
    )


class BehindDeletionsHere(BehindDeletions):
    code = "behind_deletions_here"
    template = N_(
        "The database of this program is older than the deletions that the other one still remembers: records that "
        "were deleted since may come back from here. Restore a newer backup here, or go on with that risk: run "
        "syncconfig rebind LINK in the other program."
    )


class Superseded(RefusedError):
    code = "replaced"
    template = N_("A newer connection of the same link took over.")
    permanent = False


class Locked(RefusedError):
    code = "locked"
    template = N_("Too many failed attempts. The next attempt is possible in {seconds} s.")
    permanent = False


class LinkPaused(RefusedError):
    code = "paused"
    template = N_("The link is paused in the other program.")
    permanent = False


class LinkPausedHere(LinkPaused):
    code = "paused_here"
    template = N_("Paused here. Changes are kept and sent when the link is resumed.")


# -- protocol -----------------------------------------------------------------------------------------------


class ProtocolError(SyncError):
    code = "protocol"
    template = N_("The other program sent something unexpected ({detail}). The connection was closed.")


class ProtocolErrorThere(ProtocolError):
    code = "protocol_there"
    template = N_(
        "The other program could not read what was sent to it ({detail}). Update both programs to one version."
    )


class TooLarge(ProtocolError):
    code = "too_large"
    template = N_("A message of {size} bytes exceeds the limit of {limit} bytes.")


class UnexpectedMessage(ProtocolError):
    code = "unexpected_message"
    template = N_("Message {message} is not allowed in state {state}.")


class Malformed(ProtocolError):
    code = "malformed"
    template = N_("A message cannot be read: {detail}.")


# -- transport ----------------------------------------------------------------------------------------------


class TransportError(SyncError):
    code = "transport"
    template = N_("The connection broke: {detail}")


class Unreachable(TransportError):
    code = "unreachable"
    template = N_("{address} cannot be reached ({detail}). The next attempt follows by itself.")


class BadAddress(TransportError):
    code = "bad_address"
    template = N_(
        '"{address}" is not an address of a program ({detail}). Example: https://office.example.com'
    )
    permanent = True


class PlainTextRefused(TransportError):
    code = "plain_text"
    template = N_(
        "{address} would be reached without encryption. Use https:// – or allow plain text on this link "
        "when the network itself is protected."
    )
    permanent = True


class BadCertificate(TransportError):
    code = "certificate"
    template = N_(
        "The certificate of {address} is not accepted ({detail}). Renew it there or correct the address."
    )
    permanent = True


class ConnectionClosed(TransportError):
    code = "closed"
    template = N_("The other program closed the connection ({detail}).")


class TimedOut(TransportError):
    code = "timed_out"
    template = N_("The other program has not answered for {seconds} s.")


class TimedOutThere(TransportError):
    code = "timed_out_there"
    template = N_("The other program heard nothing from this one for {seconds} s and hung up.")


class Stopping(TransportError):
    code = "stopping"
    template = N_("This program was stopped.")


class StoppingThere(TransportError):
    code = "stopping_there"
    template = N_("The other program was stopped. The connection comes back when it runs again.")


class Reconfigured(TransportError):
    code = "reconfigured"
    template = N_("The link was changed; the connection is set up anew.")


# -- this program's own database ----------------------------------------------------------------------------


class StoreError(SyncError):
    code = "store"
    template = N_("The database refused: {detail}")


class StoreErrorThere(StoreError):
    code = "store_there"
    template = N_("The other program's database refused ({detail}). Its own log says more.")


class DatabaseAway(StoreError):
    # Without the database's own words: they may name hosts and users, and go to whoever dialled in.
    code = "database_away"
    template = N_(
        "The database of this program cannot be used at the moment; its log says why. Synchronisation goes on by "
        "itself as soon as it can. If that lasts, see that the database server runs, that its disk is not full and "
        "that no other program keeps it locked."
    )


class DatabaseAwayThere(StoreError):
    code = "database_away_there"
    template = N_(
        "The other program cannot use its database at the moment. Synchronisation goes on by itself as soon as it "
        "can. If that lasts, see to the database of the other program."
    )


class LeaseLost(StoreError):
    code = "lease_lost"
    template = N_('Link "{link}" is now driven by another process of this program.')


class TriggersMissing(StoreError):
    code = "triggers"
    template = N_(
        'The change triggers of table "{table}" are missing or outdated. They are put back by: syncconfig apply.'
    )


class SecretUnreadable(StoreError):
    code = "secret"
    template = N_(
        'The password of link "{link}" cannot be decrypted: SYNCAPP_SECRET_KEY or SECRET_KEY has changed. '
        "Enter the password again."
    )
    permanent = True


# -- one change ---------------------------------------------------------------------------------------------


class ChangeError(SyncError):
    code = "change"
    template = N_('Table "{table}", record {record}: {detail}')


class ValueRefused(ChangeError):
    code = "value"
    template = N_('Table "{table}", field "{field}": the value {value} is refused ({detail}).')


class UnmappedValue(ChangeError):
    code = "unmapped_value"
    template = N_(
        'Table "{table}", field "{field}": the value {value} is not in the map of this field. Add it to the map; the '
        "change then goes on by itself."
    )


class MissingTarget(ChangeError):
    code = "missing_target"
    template = N_(
        'Table "{table}", field "{field}": the record of "{target}" that it refers to has not arrived yet. It is '
        "filled in by itself when it comes."
    )


class TargetDeleted(ChangeError):
    code = "target_deleted"
    template = N_(
        'Table "{table}", field "{field}": the record of "{target}" that it refers to was deleted here. Choose another '
        "one in the other program, or bring the record back; it is then filled in by itself."
    )


class NoneMatches(ChangeError):
    code = "none_matches"
    template = N_(
        'Table "{table}", field "{field}": no record of "{target}" here matches {key}. Create or correct it; the field '
        "is then filled in by itself."
    )


class SeveralMatch(ChangeError):
    code = "several_match"
    template = N_(
        'Table "{table}", field "{field}": {count} records of "{target}" here match {key}. Merge them by hand, or '
        "change the match fields of all but one; the field is then filled in by itself."
    )


class UnknownUser(ChangeError):
    code = "unknown_user"
    template = N_(
        'Table "{table}", field "{field}": nobody here is {user}. Create or rename the user here, or match the two by '
        "hand (syncusers); what waited is then filled in by itself."
    )


class AmbiguousUser(ChangeError):
    code = "ambiguous_user"
    template = N_(
        'Table "{table}", field "{field}": {count} users here may be {user}. Match the right one by hand (syncusers); '
        "what waited is then filled in by itself."
    )


class UnknownRecord(ChangeError):
    code = "unknown_record"
    template = N_(
        'Table "{table}": some fields of a record came that is not known here. The other program is asked to send it '
        "whole."
    )


class NoField(ChangeError):
    code = "no_field"
    template = N_(
        'Table "{table}": a value waits for field No. {field}, which does not exist here at present. It is filled in '
        "by itself when the field is there again; if it will not return, skip it."
    )


class Ask(ChangeError):
    code = "ask"
    template = N_(
        'Table "{table}", field "{field}": both programs changed it without knowing of each other. Decide which value '
        "stays; until then each program keeps its own."
    )


class SumRange(ChangeError):
    code = "sum_range"
    template = N_(
        'Table "{table}", field "{field}": {here} here and {there} there make {value}, which the field cannot take '
        "({detail}). Change the number in one of the programs; then it goes on by itself."
    )


class RecordGone(ChangeError):
    code = "record_gone"
    template = N_('Table "{table}": the record is not here any more. Nothing was changed.')


class TargetGone(ChangeError):
    code = "target_gone"
    template = N_(
        'Table "{table}", field "{field}": the record that this value refers to is not here any more. Nothing was '
        "changed; choose another value."
    )


class NotUnique(ChangeError):
    code = "not_unique"
    template = N_(
        'Table "{table}", record {record}: the database refused it ({detail}). Correct one of the two records.'
    )


class Ambiguous(ChangeError):
    code = "ambiguous"
    template = N_(
        'Table "{table}": {count} records here match {key}. Make the matching fields unique, then retry.'
    )


class Busy(ChangeError):
    code = "busy"
    template = N_(
        'Table "{table}", record {record}: somebody is changing it and has not finished. The change is tried again by '
        "itself; if this lasts, end the transaction that was left open in the database."
    )


class CannotCreate(ChangeError):
    code = "cannot_create"
    template = N_(
        'Table "{table}": a new record cannot be created because field "{field}" has no value and no default. '
        "Map the field, or give it a default."
    )


class Protected(ChangeError):
    code = "protected"
    template = N_(
        'Table "{table}", record {record} was deleted in the other program, but cannot be deleted here: records of '
        'table "{by}" refer to it in "{field}" ({count}). Delete or change them; the deletion then follows by itself.'
    )


class NotDeleted(ChangeError):
    code = "not_deleted"
    template = N_("The record {record} is not deleted: there is nothing to restore.")


class NotArchived(ChangeError):
    code = "not_archived"
    template = N_(
        "Nothing is kept of the record {record}: it was deleted in this program itself, or too long ago. A program "
        "that received the deletion may still have it; restore it there."
    )


class NotRestored(ChangeError):
    code = "not_restored"
    template = N_(
        'Table "{table}", record {record} cannot be restored: the database refused it ({detail}). Remove what '
        "stands in its way, then restore it again."
    )


class ValidationRefused(ChangeError):
    code = "validation"
    template = N_(
        'Table "{table}", record {record}: this program\'s own rules refuse it ({detail}). Correct the record in one '
        "of the two programs, then retry."
    )


class HostCodeFailed(ChangeError):
    code = "host_code"
    template = N_(
        'Table "{table}", record {record}: this program\'s own code failed while it was saved or deleted '
        "({detail}). The program's log says more."
    )


class PingPong(ChangeError):
    code = "ping_pong"
    template = N_(
        'Table "{table}", record {record}, field "{field}": two programs keep changing it back and forth, since their '
        "own code does not leave the other's value as it is. The value of this program stays until one of them does."
    )


class FromTheFuture(ChangeError):
    code = "future"
    template = N_(
        'Table "{table}", field "{field}": the change is dated {offset} ahead of this program\'s clock. '
        "Set the clock of the program that it comes from."
    )


# -- shared series of numbers ---------------------------------------------------------------------------------


class SeriesError(SyncError):
    code = "series"
    template = N_('No number of "{field}" can be given: {detail}')


class NoSeries(SeriesError):
    code = "no_series"
    template = N_(
        '"{field}" is not a shared series here. Declare it in the configuration file ([[series]]) and apply that.'
    )


class NumbersUsedUp(SeriesError):
    code = "numbers_used_up"
    template = N_(
        'The numbers of "{field}" that this program had leased are used up. New ones come by themselves as soon as it '
        'is connected with "{owner}", who owns the series: check the link.'
    )


class SeriesWaits(SeriesError):
    code = "series_waits"
    template = N_(
        '"{field}": no numbers are given, since this program was restored from a backup and these may have got some '
        "that it has forgotten: {holders}. It goes on once they have been connected. Dismiss one that never comes "
        "back: manage.py syncseries --dismiss NAME"
    )


class SeriesWaitsThere(SeriesError):
    code = "series_waits_there"
    template = N_(
        'The numbers of "{field}" that this program had leased are used up, and "{owner}" gives none at present: it '
        "was restored from a backup and waits for other programs. Connect these with it, or dismiss them there "
        "(manage.py syncseries)."
    )


class SeriesAtEnd(SeriesError):
    code = "series_at_end"
    template = N_('"{field}": the series is at its end, a greater number does not fit into the field.')


class UnknownHolder(SeriesError):
    code = "unknown_holder"
    template = N_('No program called "{holder}" takes part in a shared series. Those that do: {offer}.')


class SeriesNotThere(SeriesError):
    code = "series_not_there"
    template = N_(
        '"{field}" is a shared series here, but not in {peer}, which gets no numbers. Declare it there too '
        "([[series]])."
    )


class SeriesDiffers(SeriesError):
    code = "series_differs"
    template = N_(
        'The shared series "{field}" is declared differently in {peer} ({here} here, {there} there). No numbers are '
        "given over this link until both are the same."
    )


class TwoOwners(SeriesError):
    code = "two_owners"
    template = N_(
        'The shared series "{field}" has two owners: {peer} knows of another one than this program. No numbers are '
        "given over this link. Only one program may have the short name that stands as the owner (SYNCAPP_INSTANCE)."
    )


class NoOwner(SeriesError):
    code = "no_owner"
    template = N_(
        'The owner of the shared series "{field}" ("{owner}") has not been met, neither by this program nor by {peer}. '
        "Numbers come once one of them is linked with it. Is the short name right (SYNCAPP_INSTANCE of the owner)?"
    )


# -- decisions of people ------------------------------------------------------------------------------------


class DecisionError(SyncError):
    code = "decision"
    template = N_("The decision cannot be carried out: {detail}")
    permanent = True


class NoQuestion(DecisionError):
    code = "no_question"
    template = N_(
        "There is no open question No. {number} (any more). Perhaps the other program has decided it."
    )


class NoConflict(DecisionError):
    code = "no_conflict"
    template = N_("There is no conflict No. {number} (any more).")


class AlreadySettled(DecisionError):
    code = "already_settled"
    template = N_("Conflict No. {number} has been settled so already.")


def _tree(cls: type[SyncError]) -> list[type[SyncError]]:
    found = [cls]
    for child in cls.__subclasses__():
        found += _tree(child)
    return found


#: code → class, for stored and received codes.
BY_CODE: dict[str, type[SyncError]] = {cls.code: cls for cls in _tree(SyncError)}


def from_code(code: str, params: Mapping[str, Any]) -> SyncError:
    """The error that ``code`` names; an unknown code (a newer peer's) becomes a plain `RefusedError`."""
    cls = BY_CODE.get(code)
    if cls is None:
        return RefusedError(detail=f"{code} {dict(params)}")
    return cls(**params)


def sentence(code: str, params: Mapping[str, Any], translate: Callable[[str], str] = str) -> str:
    """The sentence of a stored ``code``, passed through ``translate`` before its placeholders are filled."""
    cls = BY_CODE.get(code)
    if cls is None:
        return render(translate(SyncError.template), {"detail": code, **params}, translate)
    return render(translate(cls.template), params, translate)


#: What the other side of a disagreement calls it.
_MIRRORED = {
    "version_here": "version_there",
    "version_there": "version_here",
    "restored_here": "restored_there",
    "restored_there": "restored_here",
    "twin": "twin_there",
    "twin_here": "twin_said",
    "behind_deletions": "behind_deletions_here",
    "other_instance": "other_instance_there",
    "timed_out": "timed_out_there",
    "stopping": "stopping_there",
    "paused_here": "paused",
    **{cls.code: "protocol_there" for cls in _tree(ProtocolError)},
    **{cls.code: "store_there" for cls in _tree(StoreError)},
    # It is not broken, only away: there is something to wait for.
    DatabaseAway.code: DatabaseAwayThere.code,
    # Another process of that program drives the link now: not a fault of its database.
    LeaseLost.code: Superseded.code,
}


def mirrored(code: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A code and its params as the peer sees them: here and there change places."""
    swapped = {"detail": code, **params}
    if "here" in params and "there" in params:
        swapped["here"], swapped["there"] = params["there"], params["here"]
    return _MIRRORED.get(code, code), swapped
