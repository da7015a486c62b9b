"""A tab in Flower with the runs of pipelines: two lines in `flowerconfig.py`, or none at all with `celery … flower`."""

from backout.integrations.flower.installing import install

__all__ = ["install"]
