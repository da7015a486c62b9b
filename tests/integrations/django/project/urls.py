from django.contrib import admin
from django.urls import path

from tests.integrations.django.project.shop import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("order/<str:number>/", views.order),
]
