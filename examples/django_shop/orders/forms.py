"""The checkout form."""

from django import forms

from orders.models import Order


class Checkout(forms.ModelForm):
    """What a customer fills in; the last two are there to see what happens when something fails."""

    class Meta:
        model = Order
        fields = ("customer", "item", "amount_cents", "courier_fails", "bank_is_closed")
