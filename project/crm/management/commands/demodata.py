"""``manage.py demodata``: fills an empty database with made-up clients, orders, payments and invoices."""

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from project.crm import demodata


def positive(text: str) -> int:
    """Read a whole number above zero."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


class Command(BaseCommand):
    """Fill an empty database. The same seed gives the same rows in every program."""

    help = (
        "Fills an empty database with made-up clients, orders, payments and invoices. "
        "The same seed gives the same rows. "
        "Example: manage.py demodata --clients 50 --seed 7"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--clients", type=positive, default=200, metavar="N", help="how many clients (200)"
        )
        parser.add_argument(
            "--seed", type=int, default=1, metavar="N", help="what the rows are made from (1)"
        )
        parser.add_argument(
            "--if-empty",
            action="store_true",
            help="leave a database that holds something alone, without an error",
        )
        parser.add_argument("--json", action="store_true", help="machine-readable output")

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill the database, or say why not."""
        if demodata.is_empty():
            counts = demodata.fill(options["clients"], options["seed"])
        elif options["if_empty"]:
            counts = {}
        else:
            raise CommandError(
                "There are clients, tags, orders, payments or invoices already; nothing was changed. "
                "Demo data only go into an empty database: use another SYNCAPP_INSTANCE or DATABASE_URL, "
                "or add --if-empty to pass over this."
            )
        if options["json"]:
            self.stdout.write(json.dumps({"created": counts}))
        elif counts:
            self.stdout.write("Made " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")
        else:
            self.stdout.write("The database has data already; it stays as it is.")
