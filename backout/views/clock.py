"""How instants are shown: in which zone, and seen from which moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from backout.views.words import say_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The reader's clock.

    Attributes:
        now: the ledger's time, aware UTC.
        zone: in which instants are shown; `None` is the local zone of this machine.
    """

    now: datetime
    zone: tzinfo | None = UTC

    def say_instant(self, instant: datetime) -> str:
        """Return date, time and the name of the zone: `2025-11-22 05:20:01 CET`."""
        local = instant.astimezone(self.zone)
        return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"

    def say_time(self, instant: datetime, *, day_of: datetime) -> str:
        """Return the time of day, with the date where it is another day than that of `day_of`."""
        local = instant.astimezone(self.zone)
        is_same_day = local.date() == day_of.astimezone(self.zone).date()
        return f"{local:%H:%M:%S}" if is_same_day else f"{local:%m-%d %H:%M:%S}"

    def say_precisely(self, instant: datetime) -> str:
        """Return date and time with milliseconds, without the zone: `2025-11-22 05:20:01.123`."""
        return f"{instant.astimezone(self.zone):%Y-%m-%d %H:%M:%S.%f}"[:-3]

    def zone_name(self, instant: datetime) -> str:
        """Return the name of the zone at an instant; summer and winter have different ones."""
        return instant.astimezone(self.zone).tzname() or "local time"

    def seconds_since(self, instant: datetime) -> float:
        """Return how long ago an instant is; negative when it is still to come."""
        return (self.now - instant).total_seconds()

    def say_age(self, instant: datetime) -> str:
        """Return how long ago an instant is: `12 s ago`."""
        return f"{say_seconds(self.seconds_since(instant))} ago"

    def say_rough_age(self, instant: datetime) -> str:
        """Return how long ago an instant is in its largest unit: `3 h ago`."""
        return f"{say_seconds(self.seconds_since(instant), units=1)} ago"

    def say_due(self, instant: datetime) -> str:
        """Return when something is due: `due in 8.0 s`, or `due 3.0 s ago`."""
        seconds = self.seconds_since(instant)
        return f"due in {say_seconds(-seconds)}" if seconds < 0 else f"due {say_seconds(seconds)} ago"
