"""Whether the next claim takes a row, and who is before it: what a PENDING row waits for."""

from datetime import timedelta

from reconciler.contract.claimed import LIMIT
from reconciler.contract.states import BatchStatus, Status
from reconciler.operator.diagnosis.row_facts import COUNTED, Facts, Reason, Turn
from reconciler.operator.wording import counted, operand, since


def waits_for_its_turn(facts: Facts) -> bool:
    """Whether nothing but the capacity, and what the next claim takes, decides on the row."""
    return (
        facts.status == Status.PENDING
        and facts.batch_status == BatchStatus.RUNNING
        and not facts.batch_paused
        and bool(facts.enabled)
        and facts.available_at <= facts.now
        and (facts.held_until is None or facts.held_until <= facts.now)
        and facts.working_batch is None
    )


def place_in_line(facts: Facts, turn: Turn) -> Reason:
    """What the next claim does with the row, as far as that is certain before the tick."""
    step = facts.step
    # Leases that the tick finds over free as many places; what it brings only takes some.
    places = turn.free + facts.expired if facts.expired else turn.mark + bool(turn.spare)
    if not turn.room and not facts.expired:
        return Reason(
            f"Not its turn: at least {counted(turn.higher, COUNTED)} of {step} wait in batches of "
            f"a higher priority, and the next tick takes {_share(facts, turn)}",
            f"tracer priority {operand(facts.batch, str(turn.highest))}",
        )
    if turn.ahead >= places:
        return Reason(
            f"Not its turn: {counted(turn.ahead, COUNTED)} of this batch come before it, and the "
            f"next tick takes {_share(facts, turn)}",
            more_in_flight(facts) if _by_capacity(facts, turn) else None,
        )
    if facts.expired or turn.arriving:
        return Reason(f"{step} is in line for the next tick, which first {_first(facts, turn)}")
    if turn.rival:
        return Reason(
            f"{step} is in line for the next tick, and so is that of the same company in the "
            f"batch {turn.rival!r}, which goes first where both would be taken"
        )
    if turn.ahead >= turn.mark:
        return Reason(
            f"{step} is in line for the next tick, which takes one more row of {turn.spare} of "
            f"the {turn.sharing} batches of its priority"
        )
    heard, silence = "", timedelta(seconds=2 * (facts.idle_s or 0))
    if facts.ticked_at and facts.now - facts.ticked_at > silence:
        heard = f"; the last one was at {since(facts.ticked_at, facts.now)}"
    return Reason(f"Its turn has come: the next tick claims {step}{heard}")


def _share(facts: Facts, turn: Turn) -> str:
    """What the next claim takes of the step, and why no more."""
    if _by_capacity(facts, turn):
        why = f"{facts.in_flight} of {facts.max_in_flight} are in flight{starved(facts)}"
    elif turn.free == facts.allowance:
        why = "it is slowed down after spawns that were not all taken"
    else:
        why = "no tick takes more"
    shared = turn.sharing > 1 and turn.room
    each = f", {turn.mark} of each of {turn.sharing} batches" if shared else ""
    return f"{turn.free:,}{each} ({why})"


def _by_capacity(facts: Facts, turn: Turn) -> bool:
    return turn.free == (facts.max_in_flight or 0) - facts.in_flight


def _first(facts: Facts, turn: Turn) -> str:
    """What a tick does before its claim that changes who is taken."""
    over = f"judges {facts.expired} of {facts.step} whose lease is over" if facts.expired else ""
    more = f"brings {counted(turn.arriving, COUNTED)} to it" if turn.arriving else ""
    return " and ".join(filter(None, (over, more)))


def starved(facts: Facts) -> str:
    """What is to be said where much of the capacity is claimed, and no worker has begun it."""
    if 2 * facts.waiting < (facts.max_in_flight or 0) or not facts.waiting:
        return ""
    return f", {facts.waiting} of them not begun: the workers are the limit"


def more_in_flight(facts: Facts) -> str | None:
    """The command that raises the step's capacity so far that the next claim takes the row; None
    where no capacity does."""
    turn = facts.turn
    before = turn.higher + max(1, turn.sharing) * (turn.ahead + 1) - 1 if turn else 0
    if before >= LIMIT or starved(facts):
        return None
    wanted = facts.in_flight + before + 1
    rounding = 10 ** max(0, len(str(wanted)) - 2)
    return f"tracer steps set {facts.step} max_in_flight={-(-wanted // rounding) * rounding}"
