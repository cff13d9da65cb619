"""How many people work at a company: an example to change."""

from workers.kit import Company, StepResult, step


class Headcount(StepResult, table=True):
    """A row per company, in the table `results.headcount`."""

    __tablename__ = "headcount"

    employees: int | None = None


@step(timeout_s=30, chunk_size=20, max_in_flight=200)
def headcount(company: Company) -> Headcount:
    """Read it from the input file; a paid API would be asked about `company.domain` here."""
    given = company.attributes.get("Employees")
    return Headcount(employees=int(given) if given else None)
