"""One table, as plain as any in a business program."""

from django.db import models


class Sample(models.Model):
    """``marker`` counts the changes, so that whoever looks at a row knows how far the changes have come."""

    number = models.IntegerField(unique=True)
    name = models.CharField(max_length=200)
    tax_id = models.CharField(max_length=32)
    address = models.CharField(max_length=300)
    phone = models.CharField(max_length=40)
    email = models.EmailField()
    note = models.TextField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    paid = models.BooleanField()
    due = models.DateField()
    changed = models.DateTimeField()
    marker = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.name
