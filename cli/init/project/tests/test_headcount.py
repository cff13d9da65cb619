"""`run_step` calls a step as a worker does: a company in, a row out."""

import pytest
from enrich.steps.headcount import headcount

from workers.kit import Company, run_step


@pytest.mark.parametrize(("given", "employees"), [("120", 120), ("", None), (None, None)])
def test_employees_are_a_number(given: str | None, employees: int | None) -> None:
    company = Company(key="acme.com", attributes={"Employees": given})
    assert run_step(headcount, company).employees == employees
