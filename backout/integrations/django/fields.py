"""Columns of the ledger as Django reads them, the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Lookup
from django.utils import timezone

from backout.jsontext import load_json


class IdField(models.Field):
    """A UUID as text: canonical, with hyphens, as people see it everywhere."""

    description = "id"

    def get_internal_type(self) -> str:
        """Return a type of our own: Django would leave the hyphens out where a database has no UUIDs."""
        return "IdField"

    def db_type(self, connection: Any) -> str:
        """Return the type of the column."""
        return "uuid" if connection.vendor == "postgresql" else "varchar(36)"

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> str | None:
        """Return text."""
        return None if value is None else str(value)

    def to_python(self, value: Any) -> str | None:
        """Return text.

        Raises:
            ValidationError: it is no UUID.
        """
        if value is None:
            return None
        try:
            return str(UUID(str(value)))
        except ValueError as error:
            message = f"{value!r} is no id"
            raise ValidationError(message, code="invalid") from error

    def get_prep_value(self, value: Any) -> Any:
        """Return text that PostgreSQL takes for a UUID."""
        return self.to_python(super().get_prep_value(value))


class DocumentField(models.Field):
    """JSON as it was written, read with all digits of its numbers."""

    description = "JSON"

    def get_internal_type(self) -> str:
        """Return Django's name for text: the columns are text, or are read as text."""
        return "TextField"

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        """Read text also where the database has a type for JSON: its drivers read that each in a way of its own."""
        if compiler.connection.vendor == "postgresql":
            return f"({sql})::text", params
        return sql, params

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        """Return what the JSON says."""
        return load_json(value) if isinstance(value, str | bytes) else value


@DocumentField.register_lookup
class HasValue(Lookup):
    """`external_ids__has_value=text`: one of the mapping's values is this text, as `dialects.holds_value` asks."""

    lookup_name = "has_value"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Return the condition in the words of the database; on PostgreSQL in those of the ledger's index."""
        column, column_parameters = self.process_lhs(compiler, connection)
        written = {
            "postgresql": f"({column} <> '{{}}'::jsonb AND "
            f"jsonb_path_query_array({column}, '$.*') @> jsonb_build_array(CAST(%s AS TEXT)))",
            "sqlite": f"EXISTS (SELECT 1 FROM json_each({column}) AS held WHERE held.value = %s)",
            "mysql": f"COALESCE(JSON_CONTAINS(JSON_EXTRACT({column}, '$.*'), JSON_QUOTE(%s)), 0) = 1",
        }[connection.vendor]
        return written, [*column_parameters, self.rhs]


class InstantField(models.Field):
    """An instant; stored as UTC where the database knows no time zones, whatever USE_TZ and TIME_ZONE are.

    It is aware where USE_TZ is on, and local time where it is off, as all of Django's are.
    """

    description = "instant"

    def get_internal_type(self) -> str:
        """Return a type of our own: Django would take what is stored for local time where USE_TZ is off."""
        return "InstantField"

    def db_type(self, connection: Any) -> str:
        """Return the type of the column."""
        return {"postgresql": "timestamp with time zone", "mysql": "datetime(6)"}.get(connection.vendor, "datetime")

    def from_db_value(self, value: Any, _expression: Any, connection: Any) -> datetime | None:
        """Return the instant, aware or not as Django's settings want it."""
        if value is None:
            return None
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        if found.tzinfo is None:
            # PostgreSQL's driver speaks in the session's time zone, the others hand out what is stored.
            is_local = connection.vendor == "postgresql"
            found = found.replace(tzinfo=ZoneInfo(connection.timezone_name) if is_local else UTC)
        utc = found.astimezone(UTC)
        return utc if settings.USE_TZ else timezone.make_naive(utc, timezone.get_default_timezone())

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """Return the instant as it is stored."""
        if not isinstance(value, datetime):
            return super().get_db_prep_value(value, connection, prepared)
        aware = value if value.tzinfo else timezone.make_aware(value, timezone.get_default_timezone())
        utc = aware.astimezone(UTC)
        if connection.vendor == "postgresql":
            return utc
        stored = utc.replace(tzinfo=None)
        return stored if connection.vendor == "mysql" else stored.isoformat(sep=" ", timespec="microseconds")
