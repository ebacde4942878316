"""Brings the database in line with validated plans; says in sentences what that changed."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from django.utils import timezone

from syncapp import conf
from syncapp.core.address import encode_code
from syncapp.core.mapping import Direction
from syncapp.models import Instance, Link, LinkState, LinkTable, Mapping
from syncapp.store.catalogue import CatalogueTable
from syncapp.store.config import filters
from syncapp.store.config.spec import PasswordSpec
from syncapp.store.config.validate import FieldPlan, LinkPlan, TablePlan

_SHOWN = {"remote_access": "access to the remote program", "user_matching": "matching of users"}
#: Columns that a plan sets as written.
_COLUMNS = ("mode", "transport", "remote_access", "address", "log", "interval", "user_matching")
#: Keys of `Link.options` that are not settings: where the passwords come from, and the FTP password.
PASSWORD_VARIABLE = "password_variable"  # noqa: S105 - the name of a setting
FTP_SECRET = "secret"  # noqa: S105


def write(plans: Iterable[LinkPlan], instance: Instance, using: str) -> list[str]:
    """Write all plans, within the caller's transaction."""
    changes: list[str] = []
    for plan in plans:
        changes += _Writer(plan, instance, using).write()
    return changes


class _Writer:
    """Writes one link."""

    def __init__(self, plan: LinkPlan, instance: Instance, using: str) -> None:
        self.plan = plan
        self.instance = instance
        self.using = using
        self.place = f'Link "{plan.spec.name}"'
        self.link = plan.existing or Link(name=plan.spec.name)

    def write(self) -> list[str]:
        changes = list(self._settings())
        if self.plan.existing is None:
            self._create()
            changes = [f"{self.place}: created ({self.plan.spec.mode}, {self.plan.spec.transport})."]
        elif changes:
            self.link.save(using=self.using)
        return changes + self._tables()

    # -- the link's own settings --

    def _settings(self) -> Iterator[str]:
        """Set the link's attributes; a sentence for each that differs from before."""
        spec, link = self.plan.spec, self.link
        wanted: dict[str, Any] = {name: getattr(spec, name) for name in _COLUMNS}
        if spec.paused is not None:
            wanted["paused"] = spec.paused
        for name, value in wanted.items():
            before = getattr(link, name)
            if before != value:
                setattr(link, name, value)
                yield f"{self.place}: {_SHOWN.get(name, name)} is now {_show(value)} (was {_show(before)})."
        yield from self._passwords()
        yield from self._options()

    def _passwords(self) -> Iterator[str]:
        # An unchanged password keeps its token: encrypting it again would look like a change.
        if self.plan.password is not None and _decrypted(self.link.secret) != self.plan.password:
            self.link.secret = conf.encrypt(self.plan.password)
            yield f"{self.place}: the password was changed."

    def _options(self) -> Iterator[str]:
        before = self.link.options
        after = dict(self.plan.spec.options)
        variable = _variable(self.plan.spec.password, before.get(PASSWORD_VARIABLE, ""))
        if variable:
            after[PASSWORD_VARIABLE] = variable
        if "ftp" in after:
            after["ftp"] = {**after["ftp"], **self._ftp_secret(before.get("ftp", {}))}
        if before == after:
            return
        self.link.options = after
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                yield f"{self.place}: {name} was {_verb(name, before, after)}."

    def _ftp_secret(self, before: dict[str, Any]) -> dict[str, str]:
        password, token = self.plan.ftp_password, before.get(FTP_SECRET, "")
        if password is not None and _decrypted(token) != password:
            token = conf.encrypt(password)
        variable = _variable(self.plan.spec.ftp_password, before.get(PASSWORD_VARIABLE, ""))
        found = {FTP_SECRET: token, PASSWORD_VARIABLE: variable}
        return {key: value for key, value in found.items() if value}

    def _create(self) -> None:
        self.link.code = encode_code(secrets.token_bytes(16))
        self.link.created_at = timezone.now()
        self.link.save(using=self.using, force_insert=True)
        # The link begins where the feed stands now: what was edited before is the initial sync's business.
        LinkState.objects.using(self.using).create(
            link=self.link,
            acked_seq=self.instance.head_seq,
            acked_tag=self.instance.head_tag,
            scanned_seq=self.instance.head_seq,
            base_seq=self.instance.head_seq,
        )

    # -- its tables and fields --

    def _tables(self) -> list[str]:
        changes: list[str] = []
        known = {row.table_id: row for row in self._link_tables()}
        mappings = {row.field_id: row for row in Mapping.objects.using(self.using).filter(link=self.link)}
        for plan in self.plan.tables:
            table_changes = list(self._table(plan, known.pop(plan.table.number, None)))
            for field in plan.fields:
                table_changes += self._field(plan.table, field, mappings.pop(field.entry.number, None))
            if table_changes:
                table_changes += _warnings(self.place, plan)
            changes += table_changes
        for row in known.values():
            row.delete(using=self.using)
            changes.append(f"{self.place}: table {row.table.label} was taken out.")
        changes += self._switch_off(mappings.values())
        return changes + self._filter_notes() if changes else []

    def _filter_notes(self) -> list[str]:
        relations = [
            (f"{table.table.label}.{field.entry.name}", field.entry.type.target)
            for table in self.plan.tables
            for field in table.fields
            if field.spec.direction.sends and field.entry.type.target
        ]
        filtered = [table.table.label for table in self.plan.tables if table.options.get("filter")]
        return list(filters.notes(self.place, filtered, relations))

    def _link_tables(self) -> Iterable[LinkTable]:
        return LinkTable.objects.using(self.using).filter(link=self.link).select_related("table")

    def _table(self, plan: TablePlan, row: LinkTable | None) -> Iterator[str]:
        match_by = list(plan.match_by)
        if row is None:
            row = LinkTable(link=self.link, table_id=plan.table.number, match_by=match_by)
            row.since_seq = self.instance.head_seq
            row.save(using=self.using)
            yield f"{self.place}: table {plan.table.label} was added."
        elif row.match_by != match_by:
            row.match_by = match_by
            row.save(using=self.using, update_fields=["match_by"])
            fields = ", ".join(match_by) or "nothing"
            yield f"{self.place}: records of {plan.table.label} are now matched by {fields}."
        yield from self._table_options(plan, row)

    def _table_options(self, plan: TablePlan, row: LinkTable) -> Iterator[str]:
        before, row.options = row.options, plan.options
        if before == plan.options:
            return
        filter = plan.options.get("filter", {})
        if before.get("filter", {}) != filter:
            yield filters.sentence(self.place, plan.table.label, filter)
            if row.since_seq < self.instance.head_seq:
                # Records that pass now and did not before are looked for at the next contact.
                row.refilter_after, row.refilter_until = row.since_seq, self.instance.head_seq
        if before.get("apply") != plan.options.get("apply"):
            how = "through its model's own save()" if "apply" in plan.options else "in bulk"
            yield f"{self.place}: changes of {plan.table.label} are now written {how}."
        row.save(using=self.using)

    def _field(self, table: CatalogueTable, plan: FieldPlan, row: Mapping | None) -> Iterator[str]:
        name = f"{table.label}.{plan.entry.name}"
        if row is None:
            if plan.spec.direction is Direction.OFF:
                return
            row = Mapping(link=self.link, field_id=plan.entry.number, direction="")
        before = f" (was {row.direction})" if row.pk else ""
        differs = [key for key, value in _mapping_values(plan).items() if getattr(row, key) != value]
        if not differs:
            return
        for key, value in _mapping_values(plan).items():
            setattr(row, key, value)
        row.save(using=self.using)
        if "direction" in differs:
            yield f"{self.place}: {name} is now {row.direction}{before}."
        if {"peer_number", "peer_name"} & set(differs):
            peer = plan.spec.peer or "the field of the same name"
            yield f"{self.place}: {name} now belongs to {peer} of the other program."
        if {"lossy", "options"} & set(differs):
            yield f"{self.place}: the settings of {name} were changed."

    def _switch_off(self, rows: Iterable[Mapping]) -> Iterator[str]:
        """Fields that the file no longer has. Their rows stay: they remember how far the field was sent."""
        for row in rows:
            if row.direction != Direction.OFF.value:
                before, row.direction = row.direction, Direction.OFF.value
                row.save(using=self.using, update_fields=["direction"])
                yield f"{self.place}: {row.field} is now off (was {before})."


def _mapping_values(plan: FieldPlan) -> dict[str, Any]:
    spec = plan.spec
    options: dict[str, Any] = {}
    if spec.confirm:
        options["confirm"] = True
    if spec.missing:
        options["missing"] = spec.missing
    if plan.transform:
        options["transform"] = list(plan.transform)
    if spec.map:
        options["map"] = dict(spec.map)
    return {
        "direction": spec.direction.value,
        "peer_number": spec.peer if isinstance(spec.peer, int) else None,
        "peer_name": spec.peer if isinstance(spec.peer, str) else "",
        "lossy": spec.lossy,
        "options": options,
    }


def _warnings(place: str, plan: TablePlan) -> Iterator[str]:
    """What will go wrong with new records: said at set-up, not only when the first one arrives."""
    receives = {field.entry.name for field in plan.fields if field.spec.direction.receives}
    if not receives:
        return
    missing = [
        name
        for name, entry in plan.table.fields.items()
        if entry.description.required and not entry.description.system and name not in receives
    ]
    if missing:
        yield (
            f"{place}: note that new records of {plan.table.label} cannot be created here, because these "
            f"fields must be filled in but are not received: {', '.join(missing)}."
        )


def _variable(password: PasswordSpec | None, before: str) -> str:
    """The environment variable that an export names: the one given, else the one known before."""
    return before if password is None else password.variable


def _decrypted(token: str) -> str | None:
    """The stored password; None where there is none, or the key has changed and any new one replaces it."""
    if not token:
        return None
    try:
        return conf.decrypt(token)
    except ValueError:
        return None


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value) or "empty"


def _verb(name: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    if name not in before:
        return "set"
    return "changed" if name in after else "removed"
