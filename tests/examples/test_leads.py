"""A lead is kept while its enrichment is away, and is enriched later, from its id."""

from __future__ import annotations

import backout
from backout import RunState, Verb
from examples.recovery.leads import Company, Contact, register_lead
from examples.recovery.providers import Fault, crm, enricher, mend, set_fault
from tests.examples.stage import Stage, on_postgres

CONTACT = Contact(email="ada@analytical.example")


def test_lead_is_enriched(stage: Stage) -> None:
    """The smooth run."""
    handle, run = stage.finish(register_lead, CONTACT)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "lead_enriched")
    assert handle.output == Company(lead_id=run.external_ids["lead"], company="Analytical")


@on_postgres
def test_lead_is_kept_and_enriched_later_without_a_second_one(stage: Stage) -> None:
    """The provider is down: the run waits, says so, and goes on from the lead that there is."""
    set_fault("enricher.look_up", Fault.DOWN)
    handle, run = stage.finish(register_lead, CONTACT)
    assert (run.state, run.operator_state) == (RunState.PARKED, "lead_created_enrichment_pending")
    assert handle.customer_message == "We have your data and are completing it."
    (lead,) = crm.standing("create_lead")
    safe = [action.request.verb for action in backout.next_safe_actions(handle) if action.is_safe]
    assert Verb.RESUME in safe

    mend("enricher.look_up")
    done = backout.resume(handle, actor="ada", reason="the provider is back")
    assert [task.step for task in done.tasks] == ["enrich_lead"]
    assert stage.settle(handle).operator_state == "lead_enriched"
    assert crm.standing("create_lead") == [lead]
    assert [asked.key for asked in enricher.standing("look_up")] == [lead.id]
    assert [added.facts["lead"] for added in crm.standing("add_company")] == [lead.id]


def test_lead_of_a_killed_worker_is_created_once(stage: Stage) -> None:
    """The CRM knows the key: the second attempt gets the first one's lead."""
    set_fault("crm.create_lead", Fault.KILLED_AFTER, times=1)
    handle, run = stage.finish(register_lead, CONTACT)
    assert run.state is RunState.SUCCEEDED
    assert stage.step(handle, "create_lead").attempt == 2
    assert len(crm.standing("create_lead")) == 1
