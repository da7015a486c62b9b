"""What the shop has in its own database."""

from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=40, unique=True)


class Deed(models.Model):
    """What a step has done, written with Django's ORM."""

    number = models.CharField(max_length=40)
    what = models.CharField(max_length=40)
