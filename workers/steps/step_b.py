"""The tracer bullet's second stub: a step after a step."""

import time

from workers.kit import Company, StepResult, step


class StepB(StepResult, table=True):
    """A greeting, as proof that the company's own data arrived."""

    __tablename__ = "step_b"

    greeting: str


@step(timeout_s=30, chunk_size=5)
def step_b(company: Company) -> StepB:
    """Take as long as a fast web API would."""
    time.sleep(0.05)
    return StepB(greeting=f"Hello, {company.name or company.key}")
