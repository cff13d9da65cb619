"""What seeding a file would buy at most, how long that takes, and whether caps have room for it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from reconciler.contract.caps import batch_scope, scopes
from reconciler.contract.database import Connection
from reconciler.contract.purchases import scope_arrays
from reconciler.operator.money.plan_time import ProviderTime, read_times
from reconciler.operator.sql import plan as queries


@dataclass(frozen=True)
class StepPlan:
    """One step: its `companies`, those with a `fresh` answer, and what the others may cost.

    A call is for `bulk` companies; None: for one. A company that ends before it comes to the step
    costs nothing there.
    """

    step: str
    provider: str | None
    price: Decimal
    companies: int
    fresh: int
    bulk: int | None = None

    @property
    def calls(self) -> int:
        """The calls for them, at most."""
        return -(-self.orders // (self.bulk or 1))

    @property
    def orders(self) -> int:
        """The companies for which an answer is bought, at most."""
        return self.companies - self.fresh

    @property
    def highest_cost(self) -> Decimal:
        """What they cost, at most."""
        return self.orders * self.price


@dataclass(frozen=True)
class Plan:
    """What a batch may buy. `left`: what each cap that it counts against may still cost. `times`:
    how long its calls take at each provider."""

    steps: list[StepPlan] = field(default_factory=list)
    left: dict[str, Decimal] = field(default_factory=dict)
    times: dict[str, ProviderTime] = field(default_factory=dict)

    @property
    def highest_cost(self) -> Decimal:
        """What all of it costs, at most."""
        return sum((step.highest_cost for step in self.steps), Decimal(0))

    def needed(self, scope: str) -> Decimal:
        """What the batch may cost of a cap."""
        _, _, name = scope.partition(":")
        provider = name.rpartition("/")[0]
        counted = (s for s in self.steps if not provider or s.provider == provider)
        return sum((step.highest_cost for step in counted), Decimal(0))

    def document(self) -> dict[str, Any]:
        """The plan for `--json`; amounts are numbers. `seconds`: at the slowest provider, of those
        whose limit is known."""
        known = [s for time in self.times.values() if (s := time.seconds) is not None]
        costs: dict[str, Decimal] = {}
        for step in self.steps:
            if step.provider:
                costs[step.provider] = costs.get(step.provider, Decimal(0)) + step.highest_cost
        return {
            "steps": [
                {
                    **asdict(step),
                    "orders": step.orders,
                    "calls": step.calls,
                    "highest_cost": step.highest_cost,
                }
                for step in self.steps
            ],
            "providers": [
                {"provider": name, "highest_cost": cost, **self.times[name].document()}
                for name, cost in costs.items()
                if name in self.times
            ],
            "seconds": max(known, default=None),
            "caps": [
                {
                    "scope": scope,
                    "left": left,
                    "highest_cost": self.needed(scope),
                    "enough": self.needed(scope) <= left,
                }
                for scope, left in self.left.items()
            ],
            "highest_cost": self.highest_cost,
        }


def read_plan(
    connection: Connection,
    batch_id: int,
    client: str | None,
    steps: Sequence[str],
    buy: Sequence[str],
) -> Plan:
    """What the client's batch may buy, by what is known now; steps of `buy` buy anew."""
    (known,) = connection.execute(queries.KNOWN, {"batch_id": batch_id})
    asked = {"batch_id": batch_id, "steps": list(steps), "buy": list(buy)}
    planned = [StepPlan(**row) for row in connection.execute(queries.PLAN, asked)]
    providers = {step.provider for step in planned if step.price}
    now = known["now"]
    of_scopes = {scope for name in providers for scope in scopes(batch_id, client, name, now)}
    asked_scopes = scope_arrays(list(of_scopes))
    left = {row["scope"]: row["left"] for row in connection.execute(queries.LEFT, asked_scopes)}
    if (own := batch_scope(batch_id)) in left:
        left[f"batch:{known['batch']}"] = left.pop(own)
    calls = Counter[str]()
    for step in planned:
        if step.provider:
            calls[step.provider] += step.calls
    return Plan(planned, left, read_times(connection, calls))
