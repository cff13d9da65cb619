"""What a step's annotations say: its companies, earlier results, resources, and what it returns."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Optional

import aiohttp
import pytest

from workers.kit import Company, resource, run_step, step
from workers.resources import OPENERS
from workers.signature import Input
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA


def signature(function: Callable[..., Any], **options: Any) -> Any:
    marked: Any = step(**options)(function)
    return marked.tracer_step.signature


def test_inputs_and_resources_are_told_apart() -> None:
    async def one(
        company: Company,
        site: Normalized,
        a: StepA | None,
        http: aiohttp.ClientSession,
    ) -> Normalized | None: ...

    found = signature(one)
    assert found.table is Normalized
    assert found.inputs == (Input("site", Normalized, True), Input("a", StepA, False))
    assert found.resources == {"http": aiohttp.ClientSession}


def test_an_optional_input_may_be_written_in_the_old_way() -> None:
    def one(company: Company, a: Optional[StepA]) -> Normalized: ...  # noqa: UP045

    assert signature(one).inputs == (Input("a", StepA, False),)


def test_a_bulk_step_takes_a_list_and_returns_by_id() -> None:
    def one(
        companies: list[Company], sites: dict[int, Normalized], a: dict[int, StepA | None]
    ) -> dict[int, Normalized | Exception | None]: ...

    found = signature(one, bulk=5)
    assert found.table is Normalized
    assert found.inputs == (Input("sites", Normalized, True), Input("a", StepA, False))


def no_company() -> Normalized: ...
def not_a_company(company: int) -> Normalized: ...
def for_many(companies: list[Company]) -> Normalized: ...
def anything(company: Company, *more: Normalized) -> Normalized: ...
def unannotated(company: Company, site) -> Normalized: ...  # type: ignore[no-untyped-def]
def two_tables(company: Company, site: Normalized | StepA) -> Normalized: ...
def returns_none(company: Company) -> None: ...
def returns_two(company: Company) -> Normalized | StepA: ...
def returns_error(company: Company) -> Normalized | ValueError: ...
def Capital(company: Company) -> Normalized: ...  # noqa: N802
def in_a_thread(company: Company, http: aiohttp.ClientSession) -> Normalized: ...
async def computes(company: Company) -> Normalized: ...


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (no_company, {}, "The first parameter of no_company must be `company: Company`"),
        (not_a_company, {}, "The first parameter of not_a_company must be `company: Company`"),
        (for_many, {}, "The first parameter of for_many must be `company: Company`"),
        (anything, {}, "anything must name its parameters"),
        (unannotated, {}, "unannotated cannot be given `site`: annotate it with another step's"),
        (two_tables, {}, "two_tables cannot be given `site`"),
        (returns_none, {}, "returns_none must be annotated to return a StepResult table: `Table"),
        (returns_two, {}, "returns_two must be annotated to return a StepResult table"),
        (returns_error, {}, "returns_error must be annotated to return a StepResult table"),
        (for_many, {"bulk": 5}, r"for_many must be annotated .*: `dict\[int, Table \| None"),
        (no_company, {"bulk": 5}, r"of no_company must be `companies: list\[Company\]`"),
        (Capital, {}, "Capital is no step name"),
        (in_a_thread, {}, "in_a_thread must be an `async def` to use `http`"),
        (computes, {"cpu": True}, "computes blocks the event loop if it computes: make it a `def`"),
    ],
)
def test_what_a_worker_could_not_call_is_refused_where_it_is_written(
    function: Callable[..., Any], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        step(**options)(function)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"bulk": 0}])
def test_numbers_out_of_bounds_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="concurrency and bulk are at least 1"):
        step(**options)


class Thing:
    pass


async def of_a_thing() -> AsyncIterator[Thing]:
    yield Thing()


def test_two_resources_of_one_type_are_refused() -> None:
    async def another() -> AsyncIterator[Thing]:
        yield Thing()

    try:
        assert resource(of_a_thing) is of_a_thing
        resource(of_a_thing)  # its file was read again
        with pytest.raises(ValueError, match=r"\.of_a_thing is a Thing already"):
            resource(another)
    finally:
        del OPENERS[Thing]


async def with_argument(thing: Thing) -> AsyncIterator[Thing]:
    yield thing


async def unsaid():  # type: ignore[no-untyped-def]
    yield Thing()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda: None, "must be an `async def` without parameters that yields once"),
        (with_argument, "with_argument must be an `async def` without parameters"),
        (unsaid, "unsaid must be annotated to return AsyncIterator"),
    ],
)
def test_what_cannot_be_a_resource_is_refused(function: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        resource(function)


# A step's own test.


@step()
async def counted(company: Company, site: Normalized | None, http: aiohttp.ClientSession) -> StepA:
    assert not http.closed
    return StepA(attribute_count=len(site.domain or "") if site else len(company.attributes))


@step(timeout_s=0.01)
async def slow(company: Company, thing: Thing) -> StepA:
    await asyncio.sleep(60)
    return StepA(attribute_count=len(f"{company.key} {thing}"))


def test_a_step_is_run_in_a_test_with_what_it_takes() -> None:
    company = Company(key="acme.com", attributes={"Employees": "120"})
    assert run_step(counted, company, site=None).attribute_count == 1
    assert run_step(counted, company, site=Normalized(domain="acme.com")).attribute_count == 8


def test_a_resource_can_be_given_by_the_test() -> None:
    with pytest.raises(TimeoutError):
        run_step(slow, Company(key="acme.com"), thing=Thing())
