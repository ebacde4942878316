"""The users of simulated programs: what they write, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from syncapp import errors
from syncapp.core.mapping import Kind
from syncapp.store.base import ASK, RowRefused
from syncapp.store.choices import Answer
from syncapp.store.store import Store
from tests.simulation.oracle import Violation
from tests.simulation.schema import PLAIN, SPECS, TABLES

if TYPE_CHECKING:
    from tests.simulation.instance import Instance, Process
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
        self.tables = list(PLAIN)
        if world.traits.joined:
            if not world.traits.restores:  # else everything that is done to stocks is counted
                self.tables.append("stock")
            self.deeds += ((self.create_stock, 8), (self.count, 16), (self.count_together, 8), (self.put, 8))

        if world.traits.deaths:
            self.deeds += ((self.remove, 6), (self.contend, 8))
        if world.traits.policies:
            self.deeds += ((self.quarrel, 15), (self.answer_somewhere, 15), (self.put_back, 5))

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

    # -- sums and unions ------------------------------------------------------------------------------------

    def create_stock(self, instance: Instance) -> None:
        counted = self.world.traits.restores
        values = {
            "item": self.fresh(instance) if counted else self.key(instance, "i"),
            "amount": 0 if counted else self.rng.randrange(50),
            "groups": self.some_tags(instance),
        }
        self.insert(instance, "stock", values)

    def count(self, instance: Instance) -> None:
        """Something is taken from the stock or put into it."""
        pk = self.some(instance, "stock")
        if pk is not None:
            self.change(instance, pk, self.rng.randrange(-9, 10))

    def count_together(self, instance: Instance) -> None:
        """Every program counts the same thing at nearly the same time."""
        for other, pk in list(self.everywhere(instance, "stock", self.some(instance, "stock"))):
            self.change(other, pk, self.rng.randrange(1, 10))

    def change(self, instance: Instance, pk: str, change: int | None) -> None:
        row = instance.database.tables[instance.numbers.table["stock"]][pk]
        if self.world.traits.restores:
            change = self.world.oracle.accounts.count(row[instance.numbers.field["stock", "item"]])
        if change is not None:
            amount = row[instance.numbers.field["stock", "amount"]] + change
            self.write(instance, "stock", pk, {"amount": amount})

    def put(self, instance: Instance) -> None:
        """One thing is put into a group or taken out of it, here or everywhere at once."""
        pk = self.some(instance, "stock")
        places = self.everywhere(instance, "stock", pk) if self.rng.random() < 0.5 else [(instance, pk)]
        for other, row in places:
            tag = self.some(other, "tag")
            if row is None or tag is None:
                continue
            held = other.database.tables[other.numbers.table["stock"]][row]
            groups = set(held[other.numbers.field["stock", "groups"]])
            self.write(other, "stock", row, {"groups": sorted(groups ^ {tag})})

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
        table = self.rng.choice(self.tables)
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
        if spec.kind is Kind.INTEGER:
            return self.rng.randrange(-50, 50)
        return self.key(instance, name[0]) if spec.unique else self.fresh(instance)

    def some_tags(self, instance: Instance) -> list[str]:
        tags = self.rows(instance, "tag")
        return sorted(self.rng.sample(tags, min(len(tags), self.rng.randrange(3))))

    def update_both(self, instance: Instance) -> None:
        """The same record at every program that has it, at nearly the same time: the same field or different ones."""
        table = self.rng.choice(self.tables)
        pk = self.some(instance, table)
        if (instance.numbers.table[table], pk or "") not in instance.database.by_pk:
            return
        same = self.rng.random() < 0.6
        name = self.rng.choice([spec.name for spec in TABLES[table]])
        for other, row in self.everywhere(instance, table, pk):
            field = name if same else self.rng.choice([spec.name for spec in TABLES[table]])
            self.write(other, table, row, {field: self.value(other, table, field)})

    def everywhere(self, instance: Instance, table: str, pk: str | None) -> Iterator[tuple[Instance, str]]:
        """The record of a row here in every program that has it: (program, key of its row)."""
        record = instance.database.by_pk.get((instance.numbers.table[table], pk or ""))
        if record is None:
            return
        uid = instance.database.records[record].uid
        for other in self.programs():
            number = other.database.by_uid.get(uid)
            if number is None or not other.database.records[number].alive:
                continue
            row = other.database.records[number].pk
            if row in other.database.tables[other.numbers.table[table]]:  # else deleted, not sealed yet
                yield other, row

    def no_op(self, instance: Instance) -> None:
        """A row is saved as it is."""
        table = self.rng.choice(self.tables)
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
        """A row goes that nothing refers to; where deletions are exchanged, any row, and what hangs on it."""
        table = self.rng.choice(self.tables)
        pk = self.some(instance, table)
        if pk is not None and (self.world.traits.deaths or not self.referred(instance, table, pk)):
            self.delete(instance, table, pk)

    def delete(self, instance: Instance, table: str, pk: str) -> None:
        """Somebody deletes a row."""
        oracle, database, numbers = self.world.oracle, instance.database, instance.numbers
        before = {name: dict(database.tables[numbers.table[name]]) for name in TABLES}
        try:
            database.remove(numbers.table[table], pk)
        except RowRefused:
            return
        for name, rows in before.items():
            for gone in rows.keys() - database.tables[numbers.table[name]].keys():
                oracle.removed(instance, name, rows[gone])
        instance.changed()

    def contend(self, instance: Instance) -> None:
        """A record is deleted in some programs and edited in others at nearly the same time."""
        table = self.rng.choice(self.tables)
        for other, row in list(self.everywhere(instance, table, self.some(instance, table))):
            if self.rng.random() < 0.4:
                self.delete(other, table, row)
            elif self.rng.random() < 0.7:
                name = self.rng.choice([spec.name for spec in TABLES[table]])
                self.write(other, table, row, {name: self.value(other, table, name)})

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

    # -- decisions ------------------------------------------------------------------------------------------

    def quarrel(self, instance: Instance) -> None:
        """Everybody who has a record writes the same field of it, by which policy ever they will come to one."""
        table, name = self.rng.choice(list(self.world.traits.policies))
        pk = self.some(instance, table)
        for other, row in list(self.everywhere(instance, table, pk)):
            self.write(other, table, row, {name: self.value(other, table, name)})

    def answer_somewhere(self, instance: Instance) -> None:
        """Who is asked answers, wherever that is."""
        asked = [i for i in self.programs() if any(p.code == ASK for p in i.database.problems.values())]
        self.answer(self.rng.choice(asked) if asked else instance)

    def clear_up(self) -> bool:
        """After a while people look at what is asked, some at the same thing at once; whether anybody did."""
        if not self.world.traits.policies or self.rng.random() < 0.3:
            return False
        asked = [i for i in self.programs() if any(p.code == ASK for p in i.database.problems.values())]
        for instance in asked:
            if self.rng.random() < 0.6:
                self.answer(instance)
        return bool(asked)

    def answer(self, instance: Instance) -> None:
        """Somebody answers a question: one of the two values, or another one."""
        questions = [p for p in instance.database.problems.values() if p.code == ASK]
        if not questions:
            return
        question = self.rng.choice(questions)
        key = instance.numbers.key[question.field]
        choice = self.rng.choice(("ours", "theirs", "value" if SPECS[key].kind is Kind.TEXT else "theirs"))
        said = Answer(choice, self.fresh(instance))
        process = self._decide(instance, lambda store: store.answer(question.id, said))
        if process is None:
            return
        left = instance.database.problems.get(question.id)
        if process.alive and left is not None and left.code == ASK:
            raise Violation(f"{instance.label} still asks what was answered: {question}")
        number = instance.database.by_uid[question.uid]
        table, pk = instance.database.records[number].table, instance.database.records[number].pk
        if instance.database.tables[table].get(pk, {}).get(question.field) == said.value:
            self.world.oracle.decided(instance, key, said.value, new=(instance.numbers.table_name[table], pk))

    def put_back(self, instance: Instance) -> None:
        """Somebody puts a value back that lost a conflict, or thinks better of it."""
        conflicts = [row for row in instance.database.conflicts if row.field in instance.numbers.key]
        if not conflicts:
            return
        row = self.rng.choice(conflicts)
        key, restore = instance.numbers.key[row.field], self.rng.random() < 0.7
        if self._decide(instance, lambda store: (store.restore if restore else store.keep)(row.id)):
            for value in (row.won, row.lost):
                if isinstance(value, str):
                    self.world.oracle.decided(instance, key, value)

    def _decide(self, instance: Instance, how: Callable[[Store], None]) -> Process | None:
        """Carry a decision out, in a process that may be killed over it; None if it cannot be."""
        if not instance.processes:
            return None
        process = self.rng.choice(instance.processes)
        try:
            process.call(lambda: how(process.store))
        except errors.SyncError as error:
            self.world.note(f"not decided: {error}")
            return None
        instance.changed()
        return process
