"""The public names, nothing else. `backout` hands them out at the first use."""

from backout.app import install
from backout.errors import (
    AskHuman,
    BackoutError,
    ConfigurationError,
    DefinitionError,
    FailStep,
    InvalidInput,
    LedgerUnavailable,
    MessageRefused,
    OutputMissing,
    ParkRun,
    PayloadTooLarge,
    RequestError,
    RetryStep,
    SchemaMismatch,
    SkipStep,
    StepError,
    StepFailed,
    StepSignal,
    StepTimedOut,
    UnknownPipeline,
    UnknownRun,
    WaitTimedOut,
)
from backout.ledger.records import EntryRecord, ReviewRecord, RunRecord, StepRecord
from backout.pipelines.decorators import step
from backout.pipelines.definition import Retry, Step
from backout.pipelines.handle import RunHandle
from backout.pipelines.pipeline import Pipeline
from backout.pipelines.schema import NotDone, Unknown
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState, StepState
from backout.tasks.context import CompensationContext, StepContext, UndoneStep

__all__ = [
    "AskHuman",
    "BackoutError",
    "CompensationContext",
    "ConfigurationError",
    "DefinitionError",
    "Direction",
    "EntryRecord",
    "FailStep",
    "InvalidInput",
    "LedgerUnavailable",
    "MessageRefused",
    "NotDone",
    "OutputMissing",
    "ParkRun",
    "PayloadTooLarge",
    "Pipeline",
    "RequestError",
    "Retry",
    "RetryStep",
    "ReviewReason",
    "ReviewRecord",
    "RollbackOutcome",
    "RunHandle",
    "RunRecord",
    "RunState",
    "SchemaMismatch",
    "SkipStep",
    "Step",
    "StepContext",
    "StepError",
    "StepFailed",
    "StepRecord",
    "StepSignal",
    "StepState",
    "StepTimedOut",
    "UndoneStep",
    "Unknown",
    "UnknownPipeline",
    "UnknownRun",
    "WaitTimedOut",
    "install",
    "step",
]
