"""A storm of local writers on the very records that are being applied, and the account of every value they wrote.

A trigger of the tests' own notes each change of a watched field with who made it, in the order in which the database
took them. So it can be said of every value what replaced it, and whether whoever did knew of it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import psycopg

from tests.instances.databases import PostgresDatabase
from tests.instances.editing import Worker
from tests.instances.pair import Pair
from tests.instances.program import Program

FIELDS = ("phone", "email", "address")
#: Few, so that the writers, and the two programs, meet all the time.
RECORDS = 6

_WATCH = """
    CREATE TABLE watched (id bigserial, tax_id text, field text, old text, new text, local boolean);
    CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE mine boolean := current_setting('application_name') NOT LIKE 'syncapp-%';
    BEGIN
        IF OLD.phone IS DISTINCT FROM NEW.phone THEN
            INSERT INTO watched VALUES (DEFAULT, NEW.tax_id, 'phone', OLD.phone, NEW.phone, mine); END IF;
        IF OLD.email IS DISTINCT FROM NEW.email THEN
            INSERT INTO watched VALUES (DEFAULT, NEW.tax_id, 'email', OLD.email, NEW.email, mine); END IF;
        IF OLD.address IS DISTINCT FROM NEW.address THEN
            INSERT INTO watched VALUES (DEFAULT, NEW.tax_id, 'address', OLD.address, NEW.address, mine); END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER watch AFTER UPDATE ON crm_client FOR EACH ROW EXECUTE FUNCTION watch();
"""


class Writer(Worker):
    """Somebody at work in one program's database: single updates, several records in one transaction in any order,
    values that are read under a lock and written back; and a transaction now and then that takes its time.
    """

    def __init__(self, side: Program, number: int, pause: float) -> None:
        super().__init__(side, f"{side.name}{number}", pause)
        assert isinstance(side.database, PostgresDatabase)
        self.database = side.database
        self.name = f"{side.name}{number}"
        self.written: list[str] = []
        self.deadlocks = 0
        found = side.rows("SELECT tax_id FROM crm_client ORDER BY tax_id LIMIT ?", (RECORDS,))
        self._known = [row[0] for row in found]

    def work(self) -> None:
        with self.database.connect() as connection:
            while not self._over.wait(self._pause * self._chance.random()):
                self._turn(connection)

    def _turn(self, connection: psycopg.Connection[Any]) -> None:
        values: list[str] = []
        try:
            with connection.transaction():
                for tax_id in self._chance.sample(self._known, self._chance.choice((1, 1, 1, 3))):
                    values.append(self._write(connection, tax_id, len(values)))
                    if self._chance.random() < 0.1:
                        self._over.wait(0.05)
        except psycopg.errors.DeadlockDetected:
            self.deadlocks += 1
        else:
            self.written += values

    def _write(self, connection: psycopg.Connection[Any], tax_id: str, part: int) -> str:
        field = self._chance.choice(FIELDS)
        value = f"{self.name}-{len(self.written)}-{part}-{self.deadlocks}"
        if self._chance.random() < 0.3:
            connection.execute(f"SELECT {field} FROM crm_client WHERE tax_id = %s FOR UPDATE", (tax_id,))
        connection.execute(f"UPDATE crm_client SET {field} = %s WHERE tax_id = %s", (value, tax_id))
        return value


class Storm:
    """Writers in both programs of a pair whose databases are PostgreSQL's."""

    def __init__(self, pair: Pair, writers: int = 3, pause: float = 0.04) -> None:
        self.pair = pair
        for side in pair.both:
            assert isinstance(side.database, PostgresDatabase)
            side.database.cluster.execute(_WATCH, database=side.database.name)
        self.writers = [Writer(side, number, pause) for side in pair.both for number in range(writers)]
        for writer in self.writers:
            writer.start()

    def finish(self) -> None:
        for writer in self.writers:
            writer.finish()

    def assert_everything_is_accounted_for(self) -> None:
        """Every value is final, was replaced by somebody who knew of it, or is in the conflict list."""
        seen = {side: _Seen(side) for side in self.pair.both}
        kept = Counter(value for side in self.pair.both for value in _losers(side))
        lost = []
        for side in self.pair.both:
            here, there = seen[side], seen[self.pair.other(side)]
            for place, old, new in here.replaced_by_the_peer():
                if there.knew(place, old, before=new) or kept[old]:
                    continue
                lost.append((side.name, place, old, new))
        assert lost == []
        finals = {value for side in self.pair.both for value in seen[side].finals}
        everywhere = set().union(*(seen[side].values for side in self.pair.both))
        missing = {value for writer in self.writers for value in writer.written} - everywhere
        assert missing == set(), "what was committed was noted"
        assert finals


class _Seen:
    """What a program's database went through."""

    def __init__(self, side: Program) -> None:
        rows = side.rows("SELECT tax_id, field, old, new, local FROM watched ORDER BY id")
        self._rows = [((tax_id, field), old, new, bool(local)) for tax_id, field, old, new, local in rows]
        self._at: dict[tuple[tuple[str, str], str], int] = {}
        self.finals: set[str] = set()
        last: dict[tuple[str, str], str] = {}
        for number, (place, old, new, _) in enumerate(self._rows):
            self._at.setdefault((place, old), number)  # there before anybody looked
            self._at.setdefault((place, new), number)
            last[place] = new
        self.finals = set(last.values())
        self.values = {value for _, value in self._at}

    def replaced_by_the_peer(self) -> list[tuple[tuple[str, str], str, str]]:
        return [(place, old, new) for place, old, new, local in self._rows if not local]

    def knew(self, place: tuple[str, str], value: str, *, before: str) -> bool:
        """Whether ``value`` stood here when ``before`` came to be."""
        known, born = self._at.get((place, value)), self._at.get((place, before))
        return known is not None and born is not None and known <= born


def _losers(side: Program) -> list[str]:
    return [msgspec.msgpack.decode(lost) for (lost,) in side.rows("SELECT lost FROM syncapp_conflict")]
