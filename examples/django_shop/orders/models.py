"""Orders, what is in stock, and what was taken from it."""

from django.core.validators import MinValueValidator
from django.db import models


class Item(models.Model):
    """Something that can be ordered."""

    name = models.CharField(max_length=100, unique=True)
    stock = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.name)


class Order(models.Model):
    """What a customer has asked for. How far it is, its run knows: nothing of that is stored here."""

    customer = models.CharField(max_length=100)
    item = models.CharField(max_length=100)
    amount_cents = models.PositiveIntegerField("amount in cents", validators=[MinValueValidator(1)])
    courier_fails = models.BooleanField("let the courier refuse the parcel", default=False)
    bank_is_closed = models.BooleanField("let the bank refuse to pay money back", default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"order {self.pk} of {self.customer}"

    @property
    def event(self) -> str:
        """Name the event that asks for the run of this order."""
        return f"order-{self.pk}"


class Reservation(models.Model):
    """Something taken from stock, once for each key."""

    key = models.CharField(max_length=200, primary_key=True)
    item = models.ForeignKey(Item, on_delete=models.PROTECT)
    is_released = models.BooleanField(default=False)
