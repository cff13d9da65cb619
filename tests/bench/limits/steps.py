"""Three steps that call one provider."""

import os

from workers.kit import Company, Paid, StepResult, step

API = os.environ.get("BENCH_API", "")
TERMS = {"provider": "strict", "recall": "key", "max_attempts": 1000, "timeout_s": 5}


class First(StepResult, table=True):
    """Of the first step."""

    __tablename__ = "limits_first"
    employees: int


class Second(StepResult, table=True):
    """Of the second step."""

    __tablename__ = "limits_second"
    employees: int


class Third(StepResult, table=True):
    """Of the third step."""

    __tablename__ = "limits_third"
    employees: int


async def ask(company: Company, paid: Paid) -> int:
    """What the provider knows."""
    answer = await paid.get(f"{API}/companies/{company.id}")
    return int(answer.json()["employees"])


@step(**TERMS)
async def first(company: Company, paid: Paid) -> First:
    """Call the provider."""
    return First(employees=await ask(company, paid))


@step(**TERMS)
async def second(company: Company, paid: Paid) -> Second:
    """Call the provider."""
    return Second(employees=await ask(company, paid))


@step(**TERMS)
async def third(company: Company, paid: Paid) -> Third:
    """Call the provider."""
    return Third(employees=await ask(company, paid))
