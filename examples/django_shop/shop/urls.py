"""The addresses of the shop."""

from django.contrib import admin
from django.urls import path

from orders import views

urlpatterns = [
    path("", views.checkout, name="checkout"),
    path("orders/<int:number>/", views.show_order, name="order"),
    path("healthz", views.healthz, name="healthz"),
    path("admin/", admin.site.urls),
]
