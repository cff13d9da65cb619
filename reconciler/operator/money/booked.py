"""What Tracer has booked of one provider's answers: over all batches, and since the beginning."""

from dataclasses import dataclass
from decimal import Decimal

from reconciler.operator.sql import booked as queries
from reconciler.operator.store import OperatorStore


@dataclass(frozen=True)
class Booked:
    """Of one provider: the orders that were `bought`, with a result (`hits`) or without; the rows
    that `reused` an answer; what was `charged`. `left`: orders that are not booked yet."""

    bought: int
    hits: int
    reused: int
    charged: Decimal
    left: int

    def __sub__(self, earlier: "Booked") -> "Booked":
        """What has been booked since; `left` is that of now."""
        return Booked(
            bought=self.bought - earlier.bought,
            hits=self.hits - earlier.hits,
            reused=self.reused - earlier.reused,
            charged=self.charged - earlier.charged,
            left=self.left,
        )


def read_booked(store: OperatorStore, provider: str) -> Booked:
    """What is booked of this provider now."""
    (row,) = store.rows(queries.BOOKED, provider=provider)
    return Booked(**row)


def forget(store: OperatorStore, provider: str) -> None:
    """Use no answer of this provider again: the next batch buys all of them anew."""
    with store.transaction() as connection:
        connection.execute(queries.FORGET, {"provider": provider})
