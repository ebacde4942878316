"""The users of simulated programs: what they write, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from syncapp.core.mapping import Kind
from syncapp.store.base import RowRefused
from tests.simulation.schema import SPECS, TABLES

if TYPE_CHECKING:
    from tests.simulation.instance import Instance
    from tests.simulation.world import World


class Users:
    """Everybody who works in one of the programs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self._count = 0
        self.deeds = (
            (self.create_client, 10),
            (self.create_order, 8),
            (self.create_tag, 4),
            (self.family, 3),
            (self.update, 30),
            (self.update_both, 12),
            (self.no_op, 4),
            (self.bulk, 3),
            (self.remove, world.plan.removals),
            (self.swap, 1),
        )

    def act(self) -> None:
        """Somebody does something somewhere."""
        instance = self.rng.choice(self.programs())
        deeds, weights = zip(*self.deeds, strict=True)
        self.rng.choices(deeds, weights)[0](instance)

    def programs(self) -> list[Instance]:
        writers = self.world.plan.writers
        return [i for i in self.world.instances if not writers or i.index in writers]

    # -- writing --------------------------------------------------------------------------------------------

    def fresh(self, instance: Instance) -> str:
        """A text that nobody has written before."""
        self._count += 1
        return f"{instance.label}{self._count}"

    def key(self, instance: Instance, pool: str) -> str:
        """A natural key: often one that others choose as well."""
        if self.rng.random() < self.world.plan.collisions:
            return f"{pool}{self.rng.randrange(5)}"
        return self.fresh(instance)

    def insert(self, instance: Instance, table: str, values: dict[str, Any]) -> str | None:
        numbers = {instance.numbers.field[table, name]: value for name, value in values.items()}
        try:
            pk = instance.database.create(instance.numbers.table[table], numbers)
        except RowRefused:
            return None
        self.world.oracle.edited(instance, table, pk, values, {})
        instance.changed()
        return pk

    def write(self, instance: Instance, table: str, pk: str, values: dict[str, Any]) -> None:
        numbers = {instance.numbers.field[table, name]: value for name, value in values.items()}
        before = dict(instance.database.tables[instance.numbers.table[table]][pk])
        try:
            instance.database.write(instance.numbers.table[table], pk, numbers)
        except RowRefused:
            return
        self.world.oracle.edited(instance, table, pk, values, before)
        instance.changed()

    def rows(self, instance: Instance, table: str) -> list[str]:
        return list(instance.database.tables[instance.numbers.table[table]])

    def some(self, instance: Instance, table: str) -> str | None:
        rows = self.rows(instance, table)
        return self.rng.choice(rows) if rows else None

    # -- deeds ----------------------------------------------------------------------------------------------

    def create_client(self, instance: Instance) -> None:
        values: dict[str, Any] = {"code": self.key(instance, "c"), "name": self.fresh(instance)}
        if self.rng.random() < 0.5:
            values["note"] = self.fresh(instance)
        if self.rng.random() < 0.4:
            values["parent"] = self.some(instance, "client")
        if self.rng.random() < 0.4:
            values["tags"] = self.some_tags(instance)
        self.insert(instance, "client", values)

    def create_tag(self, instance: Instance) -> None:
        values = {"title": self.fresh(instance), "label": self.key(instance, "t")}
        self.insert(instance, "tag", values)

    def create_order(self, instance: Instance) -> None:
        client = self.some(instance, "client")
        if client is None:
            return
        values = {"number": self.key(instance, "n"), "subject": self.fresh(instance), "client": client}
        if self.rng.random() < 0.4:
            values["payer"] = self.some(instance, "client")
        self.insert(instance, "order", values)

    def family(self, instance: Instance) -> None:
        """Records that refer to each other, created in one breath; two clients in a circle."""
        tag = self.insert(instance, "tag", {"title": self.fresh(instance), "label": self.fresh(instance)})
        names = {"code": self.fresh(instance), "name": self.fresh(instance)}
        parent = self.insert(instance, "client", {**names, "tags": [tag] if tag else []})
        names = {"code": self.fresh(instance), "name": self.fresh(instance)}
        child = self.insert(instance, "client", {**names, "parent": parent})
        if parent and child:
            self.write(instance, "client", parent, {"parent": child})
            values = {"number": self.fresh(instance), "subject": self.fresh(instance)}
            self.insert(instance, "order", {**values, "client": child, "payer": parent})

    def update(self, instance: Instance) -> None:
        table = self.rng.choice(list(TABLES))
        pk = self.some(instance, table)
        if pk is not None:
            count = self.rng.choice((1, 1, 1, 2, 3))
            names = self.rng.sample([spec.name for spec in TABLES[table]], min(count, len(TABLES[table])))
            self.write(instance, table, pk, {name: self.value(instance, table, name) for name in names})

    def value(self, instance: Instance, table: str, name: str) -> Any:
        spec = SPECS[table, name]
        if spec.kind is Kind.RELATIONS:
            return self.some_tags(instance)
        if spec.kind is Kind.RELATION:
            if not spec.required and self.rng.random() < 0.3:
                return None
            return self.some(instance, spec.target)
        return self.key(instance, name[0]) if spec.unique else self.fresh(instance)

    def some_tags(self, instance: Instance) -> list[str]:
        tags = self.rows(instance, "tag")
        return sorted(self.rng.sample(tags, min(len(tags), self.rng.randrange(3))))

    def update_both(self, instance: Instance) -> None:
        """The same record at every program that has it, at nearly the same time: the same field or different ones."""
        table = self.rng.choice(list(TABLES))
        pk = self.some(instance, table)
        record = instance.database.by_pk.get((instance.numbers.table[table], pk or ""))
        if record is None:
            return
        uid = instance.database.records[record].uid
        same = self.rng.random() < 0.6
        name = self.rng.choice([spec.name for spec in TABLES[table]])
        for other in self.programs():
            number = other.database.by_uid.get(uid)
            if number is None or not other.database.records[number].alive:
                continue
            field = name if same else self.rng.choice([spec.name for spec in TABLES[table]])
            row = other.database.records[number].pk
            if row not in other.database.tables[other.numbers.table[table]]:
                continue  # deleted, not sealed yet
            self.write(other, table, row, {field: self.value(other, table, field)})

    def no_op(self, instance: Instance) -> None:
        """A row is saved as it is."""
        table = self.rng.choice(list(TABLES))
        pk = self.some(instance, table)
        if pk is not None:
            row = instance.database.tables[instance.numbers.table[table]][pk]
            instance.database.write(instance.numbers.table[table], pk, dict(row))
            instance.changed()

    def bulk(self, instance: Instance) -> None:
        """One statement over a whole table, or many new rows."""
        if self.rng.random() < 0.5:
            for pk in self.rows(instance, "client"):
                self.write(instance, "client", pk, {"note": self.fresh(instance)})
        else:
            for _ in range(self.rng.randrange(2, 8)):
                self.create_tag(instance)

    def remove(self, instance: Instance) -> None:
        """A row goes that nothing refers to."""
        table = self.rng.choice(list(TABLES))
        pk = self.some(instance, table)
        if pk is None or self.referred(instance, table, pk):
            return
        self.world.oracle.removed(
            instance, table, instance.database.tables[instance.numbers.table[table]][pk]
        )
        instance.database.remove(instance.numbers.table[table], pk)
        instance.changed()

    def referred(self, instance: Instance, table: str, pk: str) -> bool:
        for (owner, name), spec in SPECS.items():
            if spec.target != table:
                continue
            field = instance.numbers.field[owner, name]
            for row in instance.database.tables[instance.numbers.table[owner]].values():
                value = row.get(field)
                if value == pk or (isinstance(value, list) and pk in value):
                    return True
        return False

    def swap(self, instance: Instance) -> None:
        """Two rows pass a unique value on: the first takes a new one, the second takes the first one's."""
        rows = self.rows(instance, "order")
        if len(rows) >= 2:
            first, second = self.rng.sample(rows, 2)
            field = instance.numbers.field["order", "number"]
            value = instance.database.tables[instance.numbers.table["order"]][first].get(field)
            self.write(instance, "order", first, {"number": self.fresh(instance)})
            self.write(instance, "order", second, {"number": value})
