"""A step in the place of the bundled step_a, whose file no container can import."""

import modal

from workers.kit import Company, step
from workers.steps.step_a import StepA

if not modal.is_local():
    raise ImportError("its library is in no image")


@step()
def step_a(company: Company) -> StepA:
    """Is never called."""
    return StepA(attribute_count=len(company.attributes))
