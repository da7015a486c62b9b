"""`backout demo`: an order that succeeds, one that is rolled back, and one whose worker is killed, on a real worker."""

from backout.cli.demo.command import demo

__all__ = ["demo"]
