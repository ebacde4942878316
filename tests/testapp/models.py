"""One model for each thing that introspection has to tell apart."""

import uuid
from decimal import Decimal

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F
from django.db.models.functions import Now


class Everything(models.Model):
    """Every type of field, in the order of `core.mapping.Kind`."""

    char = models.CharField("short text", max_length=50)
    blank_char = models.CharField(max_length=50, blank=True)
    default_char = models.CharField(max_length=50, default="")
    null_char = models.CharField(max_length=50, null=True)
    text = models.TextField(blank=True)
    slug = models.SlugField(max_length=40, blank=True)
    url = models.URLField(max_length=150, blank=True)
    email = models.EmailField(max_length=120, blank=True)
    address = models.GenericIPAddressField(null=True)
    choice = models.CharField(max_length=3, choices=[("a", "A"), ("b", "B")], default="a")
    small = models.SmallIntegerField(default=0)
    integer = models.IntegerField()
    big = models.BigIntegerField(null=True)
    positive = models.PositiveIntegerField(default=0)
    positive_small = models.PositiveSmallIntegerField(default=0)
    positive_big = models.PositiveBigIntegerField(default=0)
    bounded = models.IntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(5)])
    decimal = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal(0))
    floating = models.FloatField(null=True)
    flag = models.BooleanField(db_default=False)
    maybe = models.BooleanField(null=True)
    day = models.DateField(null=True)
    hour = models.TimeField(null=True)
    moment = models.DateTimeField(null=True)
    changed = models.DateTimeField(auto_now=True)
    added = models.DateTimeField(auto_now_add=True, db_default=Now())
    span = models.DurationField(null=True)
    key = models.UUIDField(default=uuid.uuid4)
    json = models.JSONField(default=dict)
    binary = models.BinaryField(max_length=100, null=True)
    file = models.FileField(upload_to="everything/", max_length=120, blank=True)
    double = models.GeneratedField(
        expression=F("small") * 2, output_field=models.IntegerField(), db_persist=True
    )
    renamed = models.CharField(max_length=10, blank=True, db_column="Odd Column")

    class Meta:
        verbose_name = "thing of every kind"


class Country(models.Model):
    """A natural key."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=50)
    iso_number = models.IntegerField(unique=True, default=0)


class Token(models.Model):
    """A key that is made here, though not by the database."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    country = models.ForeignKey(Country, models.PROTECT)
    by_number = models.ForeignKey(
        Country, models.SET_NULL, null=True, to_field="iso_number", related_name="+"
    )


class Place(models.Model):
    """A parent, with relations of all kinds."""

    name = models.CharField(max_length=50)
    parent = models.ForeignKey("self", models.SET_NULL, null=True, blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True)
    near = models.ManyToManyField("self", blank=True)
    countries = models.ManyToManyField(Country, db_table="Odd Through", blank=True)
    fans = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="+", blank=True)
    visitors = models.ManyToManyField(Token, through="Visit")


class PlaceProxy(Place):
    """No table of its own."""

    class Meta:
        proxy = True


class Restaurant(Place):
    """A child with a table of its own."""

    stars = models.IntegerField(default=0)
    beside = models.ForeignKey(PlaceProxy, models.SET_NULL, null=True, related_name="+")


class Visit(models.Model):
    """A many-to-many with a model of its own."""

    place = models.ForeignKey(Place, models.CASCADE)
    token = models.OneToOneField(Token, models.CASCADE)


class Note(models.Model):
    """A generic relation."""

    text = models.TextField()
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    about = GenericForeignKey()


class OwnSystemFields(models.Model):
    """Fields that are called like system fields."""

    creator = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    time_added = models.DateTimeField(auto_now_add=True)


class Unknown(models.Field):
    """A type that syncapp has never heard of."""

    def db_type(self, connection: object) -> str:
        return "text"


class Odd(models.Model):
    """An unknown type beside a known one."""

    name = models.CharField(max_length=10)
    strange = Unknown(null=True)


class TwoKeys(models.Model):
    """A composite key."""

    pk = models.CompositePrimaryKey("left", "right")
    left = models.IntegerField()
    right = models.IntegerField()


class View(models.Model):
    """Somebody else's table, or a view."""

    name = models.CharField(max_length=10)

    class Meta:
        managed = False


class Ticket(models.Model):
    """Logic of its own: what it does not allow, and what it does by itself."""

    title = models.CharField(max_length=50)
    slug = models.SlugField(blank=True)
    email = models.EmailField(blank=True)
    code = models.CharField(max_length=10, null=True, unique=True)
    level = models.IntegerField(default=1, validators=[MaxValueValidator(5)])
    place = models.ForeignKey(Place, models.SET_NULL, null=True, blank=True)
    countries = models.ManyToManyField(Country, blank=True)
    span = models.DurationField(null=True, blank=True)
    due = models.DateTimeField(null=True, blank=True)
    changed = models.DateTimeField(auto_now=True)
    added = models.DateTimeField(auto_now_add=True)

    def save(self, *args: object, **kwargs: object) -> None:
        if self.title == "crash":
            raise RuntimeError("out of order")
        self.slug = self.title.lower().replace(" ", "-")
        self.title = self.title.strip()
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def clean(self) -> None:
        if self.title == "bad":
            raise ValidationError({"title": "Not this one."})
        if self.title == "never":
            raise ValidationError("Never at all.")


class Contact(models.Model):
    """Never deleted: a column says that it is as good as gone."""

    name = models.CharField(max_length=50)
    tel = models.CharField(max_length=50, blank=True, default="")
    archived = models.BooleanField(default=False)


class Call(models.Model):
    """Refers to something that is as good as gone, perhaps."""

    contact = models.ForeignKey(Contact, models.CASCADE)
    text = models.CharField(max_length=50, blank=True, default="")
