"""The tracer bullet's first stub: it stands where a paid enrichment will be."""

import asyncio

from workers.kit import Company, StepResult, step


class StepA(StepResult, table=True):
    """How many columns the input file had for the company."""

    __tablename__ = "step_a"

    attribute_count: int


@step(timeout_s=30, chunk_size=5)
async def step_a(company: Company) -> StepA:
    """Take as long as a fast web API would."""
    await asyncio.sleep(0.05)
    return StepA(attribute_count=len(company.attributes))
