"""`Pipeline`: a definition that is registered and can be enqueued."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from backout.errors import UnknownRun
from backout.identifiers import RunId
from backout.ledger import queries
from backout.pipelines.definition import DEFAULT_REVIEW_WITHIN, PipelineDefinition, Step
from backout.pipelines.engine import current_engine
from backout.pipelines.enqueued import EnqueuedRuns
from backout.pipelines.handle import RunHandle
from backout.pipelines.many import OnError, Progress, SourceEventIds, enqueue_many
from backout.pipelines.registry import add_pipeline
from backout.pipelines.sensitive import FieldNames
from backout.pipelines.start import enqueue


class Pipeline(PipelineDefinition):
    """Steps in the order in which they run; each starts when the one before it has succeeded.

    Args:
        name: unique; runs are found by it.
        steps: in order; their contracts are fixed from now on.
        subject: a function of the input that says whom the run is about (a customer, an order); searchable.
        deadline: how long a run may take, from enqueue on; a bare number is seconds. A step that would start later is
            recorded as failed without being called, and its `on_failure` decides what follows. Rollbacks have none.
        review_within: the time in which a person should decide a review of a run; a bare number is seconds. `None`: no
            deadline.
        customer_messages: what a customer may be told (`RunHandle.customer_message`), 1 to 500 characters each, by
            operator's state of this pipeline (`"lead_created_enrichment_pending"`) or by run state (`"in_review"`). The
            operator's state wins; a state without a message has a safe text of its own.
        sensitive: fields of the input that nobody is shown: `"card_number"` at any depth, also in what steps return and
            record as external ids; `"customer.iban"` exactly there; `"*"` all of it. Steps get the true values.

    Raises:
        DefinitionError: the pipeline could not be run, or a step has no recovery action; nothing was registered.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Step[..., Any]],
        *,
        subject: Callable[[Any], str] | None = None,
        deadline: timedelta | float | None = None,
        review_within: timedelta | float | None = DEFAULT_REVIEW_WITHIN,
        customer_messages: Mapping[str, str] | None = None,
        sensitive: FieldNames = (),
    ) -> None:
        super().__init__(
            name,
            steps,
            subject=subject,
            deadline=deadline,
            review_within=review_within,
            customer_messages=customer_messages,
            sensitive=sensitive,
        )
        add_pipeline(self)

    def enqueue(
        self,
        value: Any,
        *,
        source_event_id: str | None = None,
        connection: Any = None,
        session: Any = None,
    ) -> RunHandle:
        """Record a run and send its first step.

        Args:
            value: the run's input, an instance of the steps' input type or what pydantic turns into one.
            source_event_id: the event that asks for this run; a second call with the same one returns the first run
                (R9), also when both happen at the same instant.
            connection: an SQLAlchemy connection to the ledger's database: the run is written in its transaction, and
                the message is sent after its commit. Nothing is committed here. In a Django project also one of
                `django.db.connections`; without it, the run joins the `transaction.atomic()` in which the caller is.
            session: the same with an SQLAlchemy session.

        Returns:
            The handle of the run; `was_created` is False when the source event already had one.

        Raises:
            InvalidInput, PayloadTooLarge: the input cannot be used; nothing was written.
            ConfigurationError: no ledger is configured, its schema is not the one of this release, or the connection
                or session is not the ledger's database's. Nothing was written; the caller's transaction goes on.
        """
        return enqueue(self, value, source_event_id=source_event_id, connection=connection, session=session)

    def enqueue_many(
        self,
        inputs: Iterable[Any],
        *,
        source_event_ids: SourceEventIds = None,
        on_error: OnError = "collect",
        progress: Progress | None = None,
        connection: Any = None,
        session: Any = None,
    ) -> EnqueuedRuns:
        """Record a run for each of many inputs and send their first steps, much faster than one by one.

        Up to a thousand runs, or 1 MiB of input as JSON, are one transaction, after whose commit their messages are
        sent. When the process dies in between, what is committed stays; calling again is safe with source event ids.

        Args:
            inputs: as of `enqueue`; may be a generator, of which a thousand at most are held.
            source_event_ids: which event asks for each run, as of `enqueue`: a function of the input as the first step
                gets it, or `"pairs"` when the inputs are pairs `(input, source_event_id)`. Each must then have one; of
                two inputs with the same one, the second gets the first's run (R9). `None`: there are no events.
            on_error: what to do with an input that cannot be used: `"collect"` names it in the result and in a warning
                of the log, and the others are enqueued; `"raise"` raises its error, with its index as a note, when
                those before it are enqueued, and no other is.
            progress: called after each transaction with the number of inputs that are done, how many of them were
                refused, and how many there are in all; `None` where the inputs do not tell.
            connection: as of `enqueue`; all runs are then in the caller's transaction, and messages wait for its end.
            session: as of `enqueue`.

        Returns:
            The handles of the runs, the inputs that were refused, and how many messages the broker did not take.

        Raises:
            InvalidInput, PayloadTooLarge: with `on_error="raise"`, an input cannot be used.
            ConfigurationError: as of `enqueue`, or an argument is none of the above. Nothing was written.
        """
        return enqueue_many(
            self,
            inputs,
            source_event_ids=source_event_ids,
            on_error=on_error,
            progress=progress,
            connection=connection,
            session=session,
        )

    def get_run(self, run_id: str) -> RunHandle:
        """Return a run of this pipeline by its id, as an application has kept it.

        Raises:
            UnknownRun: the ledger has no such run of this pipeline, or it is not committed yet.
        """
        engine = current_engine()
        found = engine.ledger.read(lambda connection: queries.find_run(connection, RunId(run_id)))
        if found is None or found.pipeline != self.name:
            raise UnknownRun(run_id=run_id)
        return RunHandle(id=found.id, pipeline=self, engine=engine, was_created=False)

    def find_run(self, source_event_id: str) -> RunHandle | None:
        """Return the run of a source event; `None` when it has none, or none that is committed yet."""
        engine = current_engine()
        found = engine.ledger.read(lambda connection: queries.find_run_of_event(connection, self.name, source_event_id))
        return RunHandle(id=found, pipeline=self, engine=engine, was_created=False) if found is not None else None
