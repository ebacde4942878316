"""Makes up a CRM that looks lived in. A seed always gives the same rows, wherever and whenever."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import models, transaction

from project.crm import demowords as words
from project.crm.models import Client, Invoice, Order, Payment, Tag

# The data never look at the clock: two programs filled alike must hold equal rows.
FIRST_DAY = datetime(2025, 1, 9, 9, 0, tzinfo=UTC)
DAYS = 300
STAFF = (
    ("anna", "Анна", "Смирнова", "anna@example.com"),
    ("peter", "Peter", "Walker", "peter@example.com"),
)
BATCH = 500


@dataclass
class DemoData:
    """Rows not yet saved. Relations point at each other, so they are saved in the order of the fields."""

    tags: list[Tag] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    client_tags: list[list[Tag]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Give the number of rows per table."""
        tables = ("tags", "clients", "orders", "payments", "invoices")
        return {name: len(getattr(self, name)) for name in tables}


class Generator:
    """Makes the rows for one seed."""

    def __init__(self, seed: int, managers: Sequence[User]) -> None:
        # Not a secret: a repeatable sequence is the point.
        self.random = random.Random(seed)  # noqa: S311
        self.managers = managers
        self.data = DemoData()
        self.tax_ids: set[str] = set()
        self.emails: set[str] = set()

    def generate(self, clients: int) -> DemoData:
        """Make ``clients`` clients and all that belongs to them."""
        self.data.tags = [Tag(name=name) for name in words.TAGS]
        for _ in range(clients):
            client = self.client()
            self.data.clients.append(client)
            self.data.client_tags.append(
                self.random.sample(self.data.tags, self.random.choice((0, 1, 1, 2, 3)))
            )
            for _ in range(self.random.choice((0, 1, 1, 2, 2, 3, 5))):
                self.order_of(client)
        return self.data

    def client(self) -> Client:
        """Make one client, Russian or English, a company or a person."""
        maker = self.russian if self.random.random() < 0.6 else self.english
        client = maker()
        client.created_at = self.moment(FIRST_DAY, DAYS)
        client.manager = self.random.choice([*self.managers, None]) if self.managers else None
        return client

    def russian(self) -> Client:
        """Make a client in Russia, with a tax ID whose check digits are right."""
        pick = self.random.choice
        woman = self.random.random() < 0.5
        first = pick(words.RU_WOMEN if woman else words.RU_MEN)
        last = pick(words.RU_SURNAMES)
        last += words.RU_FEMALE_ENDING if woman else ""
        company = self.random.random() < 0.7
        name = f"{pick(words.RU_FORMS)} «{pick(words.RU_COMPANIES)}»" if company else f"ИП {last} {first}"
        city, code, postal = pick(words.RU_CITIES)
        street, house = pick(words.RU_STREETS), self.random.randint(1, 140)
        return Client(
            name=name,
            tax_id=self.unique_tax_id(lambda: self.inn(10 if company else 12)),
            address=f"{postal}{self.random.randint(0, 999):03}, г. {city}, {street}, д. {house}",
            phone=f"+7 {code} {self.digits(3)}-{self.digits(2)}-{self.digits(2)}",
            email=self.email(words.latin(first), words.latin(last), "example.ru"),
            note=self.note(words.RU_NOTES),
        )

    def english(self) -> Client:
        """Make a client in Great Britain."""
        pick = self.random.choice
        first, last = pick(words.EN_FIRST), pick(words.EN_SURNAMES)
        company = self.random.random() < 0.7
        name = f"{last} {pick(words.EN_COMPANIES)} {pick(words.EN_FORMS)}" if company else f"{first} {last}"
        city, code, postal = pick(words.EN_CITIES)
        house = self.random.randint(1, 240)
        return Client(
            name=name,
            tax_id=self.unique_tax_id(lambda: f"GB{self.random.randint(1, 9)}{self.digits(8)}"),
            address=f"{house} {pick(words.EN_STREETS)}, {city} {postal} {self.digits(1)}AB",
            phone=f"+44 {code} {self.digits(3)} {self.digits(4)}",
            email=self.email(first.lower(), last.lower().replace("'", ""), "example.com"),
            note=self.note(words.EN_NOTES),
        )

    def order_of(self, client: Client) -> None:
        """Make an order of ``client`` with its payments and its invoice."""
        number = len(self.data.orders) + 1
        russian = client.phone.startswith("+7")
        order = Order(
            number=f"{client.created_at:%y}-{number:06}",
            client=client,
            subject=self.random.choice(words.RU_SUBJECTS if russian else words.EN_SUBJECTS),
            status=self.random.choice(Order.Status.values),
            amount=self.amount(500, 250_000),
            created_at=self.moment(client.created_at, 60),
        )
        self.data.orders.append(order)
        paid = self.payments_of(order)
        if order.status != Order.Status.CANCELLED and self.random.random() < 0.8:
            self.data.invoices.append(
                Invoice(
                    number=f"{len(self.data.invoices) + 1:06}",
                    client=client,
                    amount=order.amount,
                    issued_on=order.created_at.date() + timedelta(days=self.random.randint(0, 3)),
                    paid=paid == order.amount,
                    created_at=order.created_at + timedelta(hours=self.random.randint(1, 48)),
                )
            )

    def payments_of(self, order: Order) -> Decimal:
        """Make the payments that fit the order's status; give their sum.

        Each payment of an order is on a day of its own: order, day and amount together name one payment.
        """
        shares = {Order.Status.PAID.value: (40, 60), Order.Status.SHIPPED.value: (30,)}.get(order.status, ())
        if order.status == Order.Status.PAID and self.random.random() < 0.6:
            shares = (100,)
        total, day = Decimal(0), order.created_at.date()
        for place, share in enumerate(shares):
            last_of_full = sum(shares) == 100 and place == len(shares) - 1
            amount = (
                order.amount - total
                if last_of_full
                else (order.amount * share / 100).quantize(Decimal("0.01"))
            )
            day += timedelta(days=self.random.randint(1, 20))
            total += amount
            self.data.payments.append(
                Payment(
                    order=order, amount=amount, method=self.random.choice(Payment.Method.values), paid_on=day
                )
            )
        return total

    def unique_tax_id(self, make: Callable[[], str]) -> str:
        """Call ``make`` until it gives an ID that no client has."""
        while (tax_id := make()) in self.tax_ids:
            pass
        self.tax_ids.add(tax_id)
        return tax_id

    def inn(self, length: int) -> str:
        """Make a Russian taxpayer number of 10 (company) or 12 (person) digits."""
        digits = [int(digit) for digit in f"{self.random.randint(1, 92):02}{self.digits(length - 4)}"]
        if length == 10:
            digits.append(int(self.digits(1)))
        for weights in words.INN_WEIGHTS[length]:
            digits.append(sum(map(int.__mul__, weights, digits)) % 11 % 10)
        return "".join(map(str, digits))

    def email(self, first: str, last: str, domain: str) -> str:
        """Make an address that no other client has."""
        stem, number = f"{first}.{last}", 1
        while (address := f"{stem}{number if number > 1 else ''}@{domain}") in self.emails:
            number += 1
        self.emails.add(address)
        return address

    def note(self, notes: Sequence[str]) -> str:
        """Make a note for one client in six."""
        return self.random.choice(notes) if self.random.random() < 1 / 6 else ""

    def amount(self, low: int, high: int) -> Decimal:
        """Make a sum of money; small sums are more usual than large ones."""
        whole = int(low * (high / low) ** self.random.random())
        return Decimal(whole) + Decimal(self.random.choice((0, 0, 0, 50, 90))) / 100

    def moment(self, since: datetime, days: int) -> datetime:
        """Make a time in office hours within ``days`` days."""
        return since.replace(hour=9) + timedelta(
            days=self.random.randint(0, days),
            minutes=self.random.randint(0, 9 * 60),
            seconds=self.random.randint(0, 59),
        )

    def digits(self, count: int) -> str:
        """Make ``count`` decimal digits."""
        return f"{self.random.randrange(10**count):0{count}}"


def is_empty() -> bool:
    """Tell whether the tables that ship hold nothing yet."""
    return not any(model._default_manager.exists() for model in (Client, Tag, Order, Payment, Invoice))


def staff() -> list[User]:
    """Give the two demo users, made when missing. They can't log in until someone sets them a password."""
    users = []
    for username, first, last, email in STAFF:
        user, made = User.objects.get_or_create(
            username=username,
            defaults={"first_name": first, "last_name": last, "email": email, "is_staff": True},
        )
        if made:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        users.append(user)
    return users


def fill(clients: int, seed: int) -> dict[str, int]:
    """Fill the empty tables, in one transaction; give the number of rows per table."""
    with transaction.atomic():
        data = Generator(seed, staff()).generate(clients)
        for rows in (data.tags, data.clients, data.orders, data.payments, data.invoices):
            save(rows)
        link = Client.tags.through
        save(
            [
                link(client=client, tag=tag)
                for client, tags in zip(data.clients, data.client_tags, strict=True)
                for tag in tags
            ]
        )
    return data.counts()


def save(rows: Sequence[models.Model]) -> None:
    """Save new rows of one model as they are."""
    if rows:
        with made_times_kept(type(rows[0])):
            type(rows[0])._default_manager.bulk_create(rows, batch_size=BATCH)


@contextmanager
def made_times_kept(model: type[models.Model]) -> Iterator[None]:
    """Let rows keep the ``created_at`` that they carry: ``auto_now_add`` would write now over it."""
    fields = [column for column in model._meta.local_fields if getattr(column, "auto_now_add", False)]
    for column in fields:
        column.auto_now_add = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for column in fields:
            column.auto_now_add = True  # type: ignore[attr-defined]
