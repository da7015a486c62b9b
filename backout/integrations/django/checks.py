"""System checks: what `manage.py check` says about pipelines, settings and the ledger."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from django.core import checks
from django.db import connections

from backout.errors import BackoutError, ConfigurationError, LedgerUnavailable, SchemaMismatch
from backout.integrations.django.configuration import Configuration, read_configuration
from backout.integrations.django.engine import project_app
from backout.ledger import schema
from backout.ledger.session import Ledger
from backout.pipelines.registry import all_pipelines
from backout.pipelines.warnings import WarningCode, find_warnings
from backout.tasks.doctor.configured import check_configuration
from backout.tasks.doctor.findings import Code, Finding

TAG: Final = "backout"

SETTINGS_ID: Final = "backout.E001"
SCHEMA_ID: Final = "backout.E002"
CONTRACT_IDS: Final[Mapping[WarningCode, str]] = MappingProxyType(
    {
        WarningCode.DOUBT_ASKS_PERSON: "backout.W001",
        WarningCode.MAY_FAIL_AFTER_IRREVERSIBLE: "backout.W002",
        WarningCode.PUBLISHED_UNSEEN: "backout.W003",
        WarningCode.NOTIFY_RECORDS_NO_ID: "backout.W004",
        WarningCode.SHARED_EXTERNAL_ID: "backout.W005",
    }
)
SQLITE_ID: Final = "backout.W011"
ELSEWHERE_ID: Final = "backout.W012"
FINDING_IDS: Final[Mapping[Code, str]] = MappingProxyType(
    {
        Code.ALWAYS_EAGER: "backout.W021",
        Code.RESEND_SECONDS: "backout.W022",
        Code.VERSIONS: "backout.W023",
        Code.BROKER_KIND: "backout.W024",
        Code.VISIBILITY_TIMEOUT: "backout.W025",
        Code.REDIS_SOCKET_TIMEOUTS: "backout.W026",
        Code.AMQP_CONFIRMS: "backout.W027",
    }
)
OTHER_FINDING_ID: Final = "backout.W029"


def register_checks() -> None:
    """Let Django run them; those of the schema only where it may ask the database."""
    checks.register(check_settings, TAG)
    checks.register(check_contracts, TAG)
    checks.register(check_schema, checks.Tags.database)


def check_settings(app_configs: object = None, **_: object) -> list[checks.CheckMessage]:
    """Return what is wrong with the settings, and what they cost."""
    try:
        configuration = read_configuration()
        app = project_app()
        findings = check_configuration(app, [pipeline.plan for pipeline in all_pipelines().values()])
    except BackoutError as error:
        return [_as_error(error)]
    return [*_about_database(configuration), *map(_as_warning, findings)]


def _as_error(error: BackoutError) -> checks.CheckMessage:
    if isinstance(error, ConfigurationError):
        return checks.Error(_sentence(error.problem), hint=_sentence(error.remedy), id=SETTINGS_ID)
    return checks.Error(str(error), id=SETTINGS_ID)


def _as_warning(finding: Finding) -> checks.CheckMessage:
    words = [_sentence(text) for text in (finding.found, finding.why) if text]
    # As Celery's guide for Django writes settings.
    to_write = re.sub(r"\bapp\.conf\.(\w+)", lambda found: f"CELERY_{found[1].upper()}", finding.to_copy)
    hint = " ".join(text for text in (_sentence(finding.remedy), to_write) if text)
    return checks.Warning(" ".join(words), hint=hint or None, id=FINDING_IDS.get(finding.code, OTHER_FINDING_ID))


def _about_database(configuration: Configuration) -> Iterator[checks.CheckMessage]:
    if configuration.alias is None:
        yield checks.Warning(
            "The ledger is in a database that is none of DATABASES: a run that is enqueued inside of "
            "`transaction.atomic()` is recorded after its commit, and a process that dies in between loses it. "
            "`manage.py migrate` makes no tables there.",
            hint="Keep the ledger in one of DATABASES, or name the one that leads to it: "
            'BACKOUT = {"DATABASE": "…"}. Its tables are made by `manage.py backout ledger upgrade`.',
            id=ELSEWHERE_ID,
        )
        return
    connection = connections[configuration.alias]
    mode = str(connection.settings_dict["OPTIONS"].get("transaction_mode") or "DEFERRED").upper()
    if connection.vendor == "sqlite" and mode == "DEFERRED":
        yield checks.Warning(
            "The ledger is in SQLite, and Django begins transactions without its write lock: where a worker writes "
            "in between, they end with 'database is locked'.",
            hint=f'DATABASES[{configuration.alias!r}]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE"}}',
            id=SQLITE_ID,
        )


def check_contracts(app_configs: object = None, **_: object) -> list[checks.CheckMessage]:
    """Return what is to be warned of in the contracts of pipelines."""
    return [
        checks.Warning(
            f"Pipeline {pipeline.name}, step {warning.step}: {_sentence(warning.problem, capital=False)}",
            hint=_sentence(warning.remedy),
            id=CONTRACT_IDS[warning.code],
        )
        for pipeline in all_pipelines().values()
        for warning in find_warnings(pipeline.plan, pipeline.recorded_ids)
    ]


def check_schema(
    app_configs: object = None, databases: Iterable[str] | None = None, **_: object
) -> Sequence[checks.CheckMessage]:
    """Return an error where the ledger is in one of these databases and is not what this release needs."""
    # `migrate` asks before it mends just that.
    if sys.argv[1:2] == ["migrate"]:
        return []
    try:
        configuration = read_configuration()
    except ConfigurationError:
        # Said by `check_settings` already.
        return []
    if configuration.alias is None or configuration.alias not in (databases or ()):
        return []
    return _check_revision(configuration.database_url)


def _check_revision(database_url: str) -> list[checks.CheckMessage]:
    ledger: Any = None
    try:
        ledger = Ledger(database_url, pool_size=1)
        schema.verify(ledger)
    except SchemaMismatch as error:
        is_newer = error.found is not None and error.found > error.expected
        hint = "Deploy the newer release of backout." if is_newer else "Run `manage.py migrate` with this release."
        return [checks.Error(_sentence(error.problem), hint=hint, id=SCHEMA_ID)]
    except (ConfigurationError, LedgerUnavailable) as error:
        return [checks.Error(str(error), id=SCHEMA_ID)]
    finally:
        if ledger is not None:
            ledger.dispose()
    return []


def _sentence(text: str, *, capital: bool = True) -> str:
    if not text:
        return ""
    begun = text[:1].upper() + text[1:] if capital else text
    return begun if begun.endswith((".", "!", "?", ")", "}")) else f"{begun}."
