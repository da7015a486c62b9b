"""What staff can see and change of the shop itself; runs and reviews are in the admin by themselves."""

from django.contrib import admin

from orders.models import Item, Order


@admin.register(Item)
class ItemAdmin(admin.ModelAdmin):
    list_display = ("name", "stock")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("id", "customer", "item", "amount_cents", "created_at")
    search_fields = ("customer",)
