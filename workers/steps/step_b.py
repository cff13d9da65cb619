"""The tracer bullet's second stub: a step that takes the result of an earlier one."""

import asyncio

from workers.kit import Company, StepResult, step
from workers.steps.normalize import Normalized


class StepB(StepResult, table=True):
    """A greeting, as proof that the company's own data arrived."""

    __tablename__ = "step_b"

    greeting: str


@step(timeout_s=30, chunk_size=5)
async def step_b(company: Company, site: Normalized | None) -> StepB:
    """Take as long as a fast web API would."""
    await asyncio.sleep(0.05)
    short_name = site.short_name if site else None
    return StepB(greeting=f"Hello, {short_name or company.name or company.key}")
