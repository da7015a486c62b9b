"""Runs and reviews for programs: JSON over HTTP with the same deciders as the pages, without a framework."""

from backout.web.rest.calls import Answer, Call
from backout.web.rest.door import answer
from backout.web.rest.openapi import describe
from backout.web.rest.routes import PATHS

__all__ = ["PATHS", "Answer", "Call", "answer", "describe"]
