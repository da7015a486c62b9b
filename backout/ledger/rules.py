"""The CHECKs of a table as one function, for PostgreSQL.

PostgreSQL reads a CHECK anew from its stored text for each statement that writes (ExecRelCheck in execMain.c): those of
a step row and its run took a fifth of the database's time for a step. A function in PL/pgSQL is read once for each
connection, and raises what the CHECK would have raised.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import DDL, CheckConstraint, Column, String, Table, Uuid, event

POSTGRESQL: Final = "postgresql"


def check_by_function(table: Table, columns: Iterable[str]) -> None:
    """Let PostgreSQL check the rules of a table in a function, and everybody else as they stand.

    Args:
        table: with its CHECKs, and with nothing but them.
        columns: those that the rules look at, in the order of the function's arguments.
    """
    rules = [constraint for constraint in table.constraints if isinstance(constraint, CheckConstraint)]
    named = sorted(rules, key=lambda rule: str(rule.name))
    for rule in named:
        rule.ddl_if(callable_=lambda *_, dialect, **__: dialect.name != POSTGRESQL)
    function = f"backout_check_{table.name.removeprefix('backout_')}"
    call = CheckConstraint(f"{function}({', '.join(columns)})", name="rules")
    table.append_constraint(call.ddl_if(dialect=POSTGRESQL))
    arguments = ", ".join(f"{name} {_type_of(table.c[name])}" for name in columns)
    text = _text_of(table.name, function, arguments, named).replace("%", "%%")
    creation = DDL(text)  # type: ignore[no-untyped-call]  # it has no types
    event.listen(table, "before_create", creation.execute_if(dialect=POSTGRESQL))


def _type_of(column: Column[Any]) -> str:
    if isinstance(column.type, String):
        return "text"
    return "uuid" if isinstance(column.type, Uuid) else "timestamptz"


def _text_of(table: str, function: str, arguments: str, rules: Iterable[CheckConstraint]) -> str:
    cases = "\n".join(f"    WHEN NOT ({rule.sqltext}) THEN '{rule.name}'" for rule in rules)
    return f"""CREATE OR REPLACE FUNCTION {function}({arguments}) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  broken CONSTANT text := CASE
{cases}
  END;
BEGIN
  IF broken IS NULL THEN
    RETURN true;
  END IF;
  RAISE check_violation USING
    MESSAGE = format('new row for relation "{table}" violates check constraint "%s"', broken),
    TABLE = '{table}',
    CONSTRAINT = broken;
END
$$"""
