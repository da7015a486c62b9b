from django.contrib import admin
from django.urls import path

from backout.integrations.django.admin import ReviewAdmin, RunAdmin
from backout.integrations.django.models import Review, Run
from tests.integrations.django.project.shop import views

staff = admin.AdminSite("staff")
staff.register(Run, RunAdmin)
staff.register(Review, ReviewAdmin)

urlpatterns = [
    path("staff/", staff.urls),
    path("admin/", admin.site.urls),
    path("order/<str:number>/", views.order),
]
