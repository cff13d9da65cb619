"""Tries a step here and now: the runtime is the workers' own, but nothing is written."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from time import perf_counter
from typing import Any

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.holds import Hold
from reconciler.contract.results import Company, StepResult
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Attempt, Failure
from workers.kit import Step
from workers.runtime.runtime import Runtime

LEASE_S = 3600.0
# What is stored of a company: rows as JSON, by the name of their table.
Rows = dict[str, str]


@dataclass(frozen=True)
class Trial:
    """What a step came to for one company.

    `took_s`: seconds that the function took, None if it was not called. `raised`: what it raised.
    `ran_first`: the earlier steps that were run for it, since their results are not stored.
    """

    company: Company
    outcome: StepResult | Failure
    took_s: float | None = None
    raised: BaseException | None = None
    ran_first: tuple[str, ...] = ()


def try_step(
    steps: Mapping[str, Step], step: Step, companies: Sequence[Company], stored: Mapping[int, Rows]
) -> list[Trial]:
    """Try a step for these companies, whose ids differ.

    `steps` are all steps. `stored` has earlier results by company id; what the step needs and is
    not there is made by its own step first.
    """
    rows = {company.id: dict(stored.get(company.id, {})) for company in companies}
    ran_first: dict[int, tuple[str, ...]] = {company.id: () for company in companies}
    for table in step.needed:
        maker = next(other for other in steps.values() if other.table is table)
        name = str(table.__tablename__)
        lacking = [company for company in companies if name not in rows[company.id]]
        for made in try_step(steps, maker, lacking, rows) if lacking else []:
            ran_first[made.company.id] += (*made.ran_first, maker.name)
            if isinstance(made.outcome, StepResult):
                rows[made.company.id][name] = made.outcome.model_dump_json()
    store, clock = TrialStore(companies, rows), Clock()
    with closing(Runtime(store)) as runtime:
        ids = [company.id for company in companies]
        runtime.submit(replace(step, function=clock.timed(step)), ids).done.result()
    return [
        Trial(
            *(company, store.outcomes[company.id], clock.took_s.get(company.id)),
            *(clock.raised.get(company.id), ran_first[company.id]),
        )
        for company in companies
    ]


class TrialStore:
    """Stands where the workers' store does, and keeps what each attempt came to."""

    def __init__(self, companies: Sequence[Company], rows: Mapping[int, Rows]) -> None:
        self._companies = {company.id: company for company in companies}
        self._rows = rows
        self._held: dict[str, Hold] = {}
        self.outcomes: dict[int, StepResult | Failure] = {}

    def begin(
        self,
        step_name: str,
        company_ids: Sequence[int],
        call_id: str | None,  # noqa: ARG002
        inputs: Mapping[str, type[StepResult]],
        *,
        alone: bool = False,  # noqa: ARG002
    ) -> list[Attempt]:
        """An attempt for each company, with what is known of it."""
        return [
            Attempt(
                company=self._companies[i],
                step_name=step_name,
                batch_id=0,
                attempt=1,
                lease_s=LEASE_S,
                inputs={
                    name: self._rows[i].get(str(table.__tablename__))
                    for name, table in inputs.items()
                },
            )
            for i in company_ids
        ]

    def are_suspect(self, step_name: str, company_ids: Sequence[int]) -> bool:  # noqa: ARG002
        """No worker has died by them."""
        return False

    def lacks(
        self,
        table: type[StepResult],  # noqa: ARG002
        inputs: Sequence[type[StepResult]] = (),  # noqa: ARG002
    ) -> str | None:
        """No table is written."""
        return None

    def hold(self, step_name: str, hold: Hold) -> bool:
        """Keep why the step cannot be worked, for what it gives back."""
        self._held[step_name] = hold
        return True

    def is_held(self, step_name: str) -> bool:
        """Whether the step cannot be worked."""
        return step_name in self._held

    def release(self, step_name: str, company_ids: Sequence[int]) -> int:
        """They are nobody else's: what is given back has failed, if the step is held."""
        if held := self._held.get(step_name):
            self.outcomes.update(dict.fromkeys(company_ids, _held_up(held)))
        return 0

    def release_begun(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
        """They are nobody else's: what is given back has failed, if the step is held."""
        for attempt in attempts:
            if held := self._held.get(attempt.step_name):
                self.outcomes[attempt.company.id] = _held_up(held)
        return keys_of(attempts)

    def heartbeat(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
        """Nobody takes an attempt away."""
        return keys_of(attempts)

    def complete(
        self, attempts: Sequence[Attempt], results: Sequence[StepResult]
    ) -> set[tuple[str, int]]:
        """Keep the results.

        Raises:
            ValueError: a result cannot be written as JSON, or as UTF-8.
        """
        for result in results:
            row = result.model_dump(mode="json")
            json.dumps(row, allow_nan=False, ensure_ascii=False).encode()
        self.outcomes.update(zip((a.company.id for a in attempts), results, strict=True))
        return keys_of(attempts)

    def fail(
        self, attempts: Sequence[Attempt], failures: Sequence[Failure]
    ) -> set[tuple[str, int]]:
        """Keep why there is no result."""
        self.outcomes.update(zip((a.company.id for a in attempts), failures, strict=True))
        return keys_of(attempts)


def _held_up(hold: Hold) -> Failure:
    return Failure(hold.reason, ends=Status.FAILED, kind=ErrorKind.PERMANENT)


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


def keys_of(attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
    """The step and the company of each."""
    return {(attempt.step_name, attempt.company.id) for attempt in attempts}
