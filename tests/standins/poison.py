"""The bundled steps; normalize kills its process the first times that it gets company 13."""

import os
import signal
from pathlib import Path

from workers.kit import Company, step
from workers.steps import normalize as first
from workers.steps import step_a as second
from workers.steps import step_b as third
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA
from workers.steps.step_b import StepB

DEATHS = 8


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
