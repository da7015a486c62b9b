"""What `enqueue_many` returns: the runs, and which inputs were refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from backout.errors import RequestError
from backout.pipelines.handle import RunHandle


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedInput:
    """An input of many that has no run: nothing of it was written.

    Attributes:
        index: among the inputs, from 0.
        error: what `enqueue` would have raised: `InvalidInput` or `PayloadTooLarge`.
    """

    index: int
    error: RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedRuns:
    """The runs of many inputs. Iterating over it gives their handles; it holds no input.

    Attributes:
        handles: of the runs, in the order of the inputs that were not refused; an event that comes twice, twice.
        refused: the other inputs, in their order.
        unsent: how many first messages the broker is not known to have taken; the sweeper sends them. `None`: they are
            sent after the commit of the caller's transaction.
    """

    handles: tuple[RunHandle, ...] = field(repr=False)
    refused: tuple[RefusedInput, ...]
    unsent: int | None

    def __iter__(self) -> Iterator[RunHandle]:
        """Return the handles, one after the other."""
        return iter(self.handles)

    def __len__(self) -> int:
        """Return the number of handles."""
        return len(self.handles)

    @property
    def created(self) -> int:
        """How many runs are new; the source events of the others had one already (R9)."""
        return sum(handle.was_created for handle in self.handles)
