"""The pages for customers."""

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from orders.forms import Checkout
from orders.models import Order
from orders.pipelines import Purchase, fulfil_order


def checkout(request: HttpRequest) -> HttpResponse:
    """Take an order: the order and its run are committed together, or neither is."""
    example = {"item": "Espresso machine", "amount_cents": 24900}
    form = Checkout(request.POST or None, initial=example, label_suffix="")
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            order = form.save()
            purchase = Purchase(order=order.pk, item=order.item, amount_cents=order.amount_cents)
            fulfil_order.enqueue(purchase, source_event_id=order.event)
        return redirect("order", order.pk)
    return render(request, "orders/checkout.html", {"form": form})


def show_order(request: HttpRequest, number: int) -> HttpResponse:
    """Tell the customer how far the order is."""
    order = get_object_or_404(Order, pk=number)
    run = fulfil_order.find_run(order.event)
    message = run.customer_message if run is not None else "We do not know this order."
    is_final = run is None or run.status().state.is_final
    return render(request, "orders/order.html", {"order": order, "message": message, "is_final": is_final})


def healthz(request: HttpRequest) -> HttpResponse:
    """Answer whether the shop can work: it needs its database, and nothing else."""
    connection.ensure_connection()
    return HttpResponse("ok", content_type="text/plain")
