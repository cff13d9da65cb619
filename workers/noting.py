"""Where the calls of a step are noted, and why one is not sent."""

import math
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from reconciler.contract.orders import Order, Receipt


class NothingKept(Exception):
    """No call may be made, and no answer to this request is kept."""

    def __init__(self) -> None:
        super().__init__(
            "no kept answer fits this request, and no call is made: it differs from what was asked "
            "when the answer was bought"
        )


class AnswerLost(Exception):
    """The answer to an earlier call never came, and the call must not be repeated."""

    def __init__(self) -> None:
        super().__init__("an earlier call may have been charged, so that none is sent again")


class NotOurs(Exception):
    """The attempt is not, or may not be, this worker's any more, so its call was not sent.

    `noted`: the orders that were noted as sent all the same, each with the number of the call.
    """

    def __init__(self, noted: Mapping[UUID, int] | None = None) -> None:
        super().__init__(
            "its call was not sent: the attempt was taken away, or its provider must wait"
        )
        self.noted = noted or {}


class Journal(Protocol):
    """Where calls are noted. What is handed in is written, also if nobody awaits it.

    A call is to be sent within `send_within_s` of being handed in. Later, another worker may have
    the order already, and have looked for the call in vain.
    """

    @property
    def send_within_s(self) -> float:
        """Seconds."""
        ...

    def send(self, orders: Sequence[Order]) -> Awaitable[list[int]]:
        """Note that a call is about to be sent; returns which call of its order it is.

        Raises:
            NotOurs: an order is not this attempt's any more.
        """
        ...

    def receive(self, receipt: Receipt) -> Awaitable[None]:
        """Keep an answer."""
        ...


class Unkept:
    """A journal that notes nothing: of a test, and of a trial."""

    send_within_s = math.inf

    async def send(self, orders: Sequence[Order]) -> list[int]:
        """Each call may be sent."""
        return [1] * len(orders)

    async def receive(self, receipt: Receipt) -> None:
        """The answer is for the step alone."""
