"""The project. The Celery app is imported with it, as Celery's guide for Django says, so that tasks find it."""

from shop.celery import app as celery_app

__all__ = ["celery_app"]
