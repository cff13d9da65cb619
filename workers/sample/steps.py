"""The paid steps of the demo: what they find is made up."""

from workers.kit import Company, Paid, StepResult, step
from workers.sample.place import provider_url
from workers.steps.normalize import Normalized


class SampleHeadcount(StepResult, table=True):
    """How many people work at the company."""

    __tablename__ = "sample_headcount"

    employees: int


class SampleTechnologies(StepResult, table=True):
    """What its web site is made with."""

    __tablename__ = "sample_technologies"

    cms: str
    analytics: str


@step(
    provider="sample",
    price=1,
    fresh_for="30d",
    bills="hit",
    concurrency=6,
    timeout_s=30,
    backoff_s=1,
    chunk_size=5,
)
async def sample_headcount(
    company: Company, site: Normalized | None, paid: Paid
) -> SampleHeadcount | None:
    """Ask for one company; a company that the provider does not know costs nothing."""
    domain = (site and site.domain) or company.domain
    if not domain:
        return None
    answer = await paid.get(f"{provider_url()}/headcount", params={"domain": domain})
    return None if answer.status == 404 else SampleHeadcount(employees=answer.json()["employees"])


@step(
    provider="sample",
    price=3,
    fresh_for="30d",
    bills="hit",
    recall="key",
    concurrency=6,
    timeout_s=30,
    backoff_s=1,
    chunk_size=5,
)
async def sample_technologies(
    company: Company, site: Normalized | None, paid: Paid
) -> SampleTechnologies | None:
    """Ask for one company; a call that is sent again with its key is not charged again."""
    domain = (site and site.domain) or company.domain
    if not domain:
        return None
    answer = await paid.get(f"{provider_url()}/technologies", params={"domain": domain})
    return None if answer.status == 404 else SampleTechnologies(**answer.json())
