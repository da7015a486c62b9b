"""What a host and the JSON API hand to each other: a request that was understood, and what is sent back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backout.jsontext import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the host has understood of a request.

    Attributes:
        method: as sent: `GET`, `POST` or another.
        path: below the place where the host serves the API, decoded: `/runs/0198…/actions`.
        query: names and values in the order in which they were sent, decoded.
        body: of a POST, as sent.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent back.

    Attributes:
        status: of the HTTP response.
        document: its body, to be sent as `application/json` in UTF-8.
        headers: name to value, besides those of the body.
    """

    status: int
    document: JsonValue
    headers: Mapping[str, str] = field(default_factory=dict)
