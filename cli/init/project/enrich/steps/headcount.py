"""An example to change: the number of people who work at a company."""

from workers.kit import Company, StepResult, step


class Headcount(StepResult, table=True):
    """A result: one row per company, in the table `results.headcount`."""

    __tablename__ = "headcount"

    employees: int | None = None


@step(timeout_s=30, chunk_size=20, max_in_flight=200)
async def headcount(company: Company) -> Headcount:
    """Read the number from the input file."""
    # A real step would ask an API. With `import aiohttp` above, and a second parameter
    # `http: aiohttp.ClientSession`, which all calls share:
    #     async with http.get(URL, params={"domain": company.domain}) as answer:
    #         answer.raise_for_status()
    #         given = (await answer.json())["employees"]
    given = company.attributes.get("Employees")
    return Headcount(employees=int(given) if given else None)
