"""The bundled steps, and one that pays; normalize kills its process the first times that it gets
company 13."""

import os
import signal
from decimal import Decimal
from pathlib import Path

from workers.answer import Answer
from workers.kit import Company, Paid, StepResult, step
from workers.steps import normalize as first
from workers.steps import step_a as second
from workers.steps import step_b as third
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA
from workers.steps.step_b import StepB

DEATHS = 8
PRICE = Decimal("0.35")
PROVIDER = "CHAOS_PROVIDER"  # the variable with its URL


class Staffing(StepResult, table=True):
    __tablename__ = "staffing"
    employees: int


@step()
def normalize(company: Company) -> Normalized:
    """As the bundled one, at last."""
    deaths = Path(os.environ["TRACER_HOME"]) / "deaths"
    if company.key == "13" and len(deaths.read_bytes() if deaths.exists() else b"") < DEATHS:
        with deaths.open("ab") as log:
            log.write(b"x")
        os.kill(os.getpid(), signal.SIGKILL)
    return first.normalize(company)


@step(chunk_size=5)
async def step_a(company: Company) -> StepA:
    """As the bundled one."""
    return await second.step_a(company)


@step(chunk_size=5)
async def step_b(company: Company, site: Normalized | None) -> StepB:
    """As the bundled one."""
    return await third.step_b(company, site)


def cost(key: str) -> Decimal:
    """What the provider charges for a company: by the length of its key, below the price."""
    return len(key) * Decimal("0.07")


@step(provider="acme", price=PRICE, recall="key", chunk_size=5)
async def staffing(company: Company, paid: Paid) -> Staffing:
    """Buys at the provider that is outside."""

    def charge(_: Answer) -> Decimal:
        return cost(company.key)

    url, params = f"{os.environ[PROVIDER]}/enrich", {"domain": company.key}
    answer = await paid.get(url, params=params, charge=charge)
    return Staffing(employees=answer.json()["employees"])
