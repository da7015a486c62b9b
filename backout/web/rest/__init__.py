"""Runs and reviews for programs: JSON over HTTP with the same deciders as the pages, without a framework."""

from backout.web.rest.calls import Answer, Call
from backout.web.rest.door import answer
from backout.web.rest.openapi import describe
from backout.web.rest.problems import Code, Problem, refuse_method
from backout.web.rest.routes import PATHS, find_methods

__all__ = ["PATHS", "Answer", "Call", "Code", "Problem", "answer", "describe", "find_methods", "refuse_method"]
