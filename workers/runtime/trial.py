"""Tries a step here and now: the runtime is the workers' own, but nothing is written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from time import perf_counter
from typing import Any, Protocol

from reconciler.contract.orders import Order
from reconciler.contract.results import Company, StepResult
from reconciler.contract.worker_store import Failure
from workers.kit import Step
from workers.runtime.runtime import Runtime
from workers.runtime.trial_store import Books, PaidCall, Rows, TrialStore


class Till(Books, Protocol):
    """Makes the orders of a trial."""

    def of_step(self, step: Step, company_ids: Sequence[int]) -> Mapping[int, Order]:
        """The orders, by company; companies that have none buy without being noted."""
        ...


@dataclass(frozen=True)
class Trial:
    """What a step came to for one company.

    `took_s`: seconds that the function took, None if it was not called. `raised`: what it raised.
    `ran_first`: the earlier steps that were run for it, since their results are not stored.
    `calls`: the paid calls of all of these. `kept`: answers of its own calls are kept.
    """

    company: Company
    outcome: StepResult | Failure
    took_s: float | None = None
    raised: BaseException | None = None
    ran_first: tuple[str, ...] = ()
    calls: tuple[PaidCall, ...] = ()
    kept: bool = False


def try_step(
    steps: Mapping[str, Step],
    step: Step,
    companies: Sequence[Company],
    stored: Mapping[int, Rows],
    till: Till | None = None,
) -> list[Trial]:
    """Try a step for these companies, whose ids differ.

    `steps` are all steps. `stored` has earlier results by company id; what the step needs and is
    not there is made by its own step first. With a `till`, what is paid is bought through orders;
    a bulk step, and one without `paid`, has none.

    Raises:
        TracerError: the till makes no order.
    """
    rows = {company.id: dict(stored.get(company.id, {})) for company in companies}
    ran_first: dict[int, tuple[str, ...]] = {company.id: () for company in companies}
    calls: dict[int, tuple[PaidCall, ...]] = {company.id: () for company in companies}
    for table in step.needed:
        maker = next(other for other in steps.values() if other.table is table)
        name = str(table.__tablename__)
        lacking = [company for company in companies if name not in rows[company.id]]
        for made in try_step(steps, maker, lacking, rows, till) if lacking else []:
            ran_first[made.company.id] += (*made.ran_first, maker.name)
            calls[made.company.id] += made.calls
            if isinstance(made.outcome, StepResult):
                rows[made.company.id][name] = made.outcome.model_dump_json()
    keeps = till and step.signature.paid and not step.bulk
    orders = till.of_step(step, [company.id for company in companies]) if till and keeps else {}
    store, clock = TrialStore(companies, rows, till, orders), Clock()
    with closing(Runtime(store)) as runtime:
        ids = [company.id for company in companies]
        runtime.submit(replace(step, function=clock.timed(step)), ids).done.result()
    return [
        Trial(
            *(company, store.outcomes[company.id], clock.took_s.get(company.id)),
            *(clock.raised.get(company.id), ran_first[company.id]),
            (*calls[company.id], *store.calls(company.id)),
            company.id in orders,
        )
        for company in companies
    ]


class Clock:
    """How long a step's function took, by company id, and what it raised."""

    def __init__(self) -> None:
        self.took_s: dict[int, float] = {}
        self.raised: dict[int, BaseException] = {}

    def timed(self, step: Step) -> Callable[..., Any]:
        """The step's function, watched."""
        if step.is_async:

            @wraps(step.function)
            async def on_loop(companies: Any, **given: Any) -> Any:
                with self._watching(companies):
                    return await step.function(companies, **given)

            return on_loop

        @wraps(step.function)
        def on_thread(companies: Any, **given: Any) -> Any:
            with self._watching(companies):
                return step.function(companies, **given)

        return on_thread

    @contextmanager
    def _watching(self, companies: Company | list[Company]) -> Iterator[None]:
        chosen = companies if isinstance(companies, list) else [companies]
        began = perf_counter()
        try:
            yield
        except BaseException as error:
            self.raised |= {company.id: error for company in chosen}
            raise
        finally:
            self.took_s |= {company.id: perf_counter() - began for company in chosen}
