"""A step is a function: a company in, a row out."""

import pytest
from enrich.steps.headcount import headcount

from workers.kit import Company


@pytest.mark.parametrize(("given", "employees"), [("120", 120), ("", None), (None, None)])
def test_employees_are_a_number(given: str | None, employees: int | None) -> None:
    company = Company(
        id=1,
        key="acme.com",
        name="Acme",
        domain="acme.com",
        attributes={"Employees": given},
        idempotency_key="one",
    )
    assert headcount(company).employees == employees
