"""A lead is kept while its enrichment is away, and is enriched later, from its id.

* what failed: the enrichment provider is down
* what is known: the lead is in the CRM, under the id in the ledger
* what is safe: looking the company up again, for that id; creating the lead again is not, and is not needed
* what happens: the run is parked as `lead_created_enrichment_pending`; nothing is undone
* who is asked: nobody decides anything; whoever knows that the provider is back resumes the run
"""

from pydantic import BaseModel

from backout import Pipeline, Retry, StepContext, step
from examples.recovery.providers import crm, enricher


class Contact(BaseModel):
    email: str


class Lead(BaseModel):
    id: str


class Company(BaseModel):
    lead_id: str
    company: str


@step(
    effect="write",
    keep="a lead is useful without its company",
    idempotent=True,  # the CRM knows the key: a second call answers with the first one's lead
    retry=Retry(limit=2, delay=0.5),
    timeout=30,
    done="lead_created",
    pending="lead_pending",
    failed="lead_failed",
)
def create_lead(contact: Contact, ctx: StepContext) -> Lead:
    lead = crm.do("create_lead", key=ctx.idempotency_key, email=contact.email)
    ctx.record_external_id("lead", lead.id)
    return Lead(id=lead.id)


@step(
    effect="write",
    keep="a company's name does no harm in the CRM",
    idempotent=True,  # the same name is written under the same key
    on_failure="park",
    retry=Retry(limit=2, delay=0.5),
    timeout=30,
    done="lead_enriched",
    pending="enrichment_pending",
    failed="enrichment_failed",
)
def enrich_lead(contact: Contact, ctx: StepContext) -> Company:
    lead: Lead = ctx.output(create_lead)  # from the ledger, also after a week
    found = enricher.look_up(contact.email.partition("@")[2], lead_id=lead.id)
    crm.do("add_company", key=ctx.idempotency_key, lead=lead.id, company=found["company"])
    return Company(lead_id=lead.id, company=found["company"])


register_lead = Pipeline(
    "register_lead",
    [create_lead, enrich_lead],
    subject=lambda contact: contact.email,
    customer_messages={
        "lead_created_enrichment_pending": "We have your data and are completing it.",
        "lead_enriched": "Thank you, we have everything that we need.",
    },
)
