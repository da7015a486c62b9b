"""A view that makes an order and asks for its run."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from tests.integrations.django.project.shop.models import Order
from tests.integrations.django.project.shop.pipelines import fulfil


@csrf_exempt
def order(request: HttpRequest, number: str) -> HttpResponse:
    Order.objects.create(number=number)
    handle = fulfil.enqueue({"number": number}, source_event_id=number)
    if "fail" in request.GET:
        raise RuntimeError("the view failed")
    return HttpResponse(handle.id)
