"""`tracer pause` and `tracer resume`: whether more of a batch is claimed."""

from cli.confirm import Harmless, in_flight, running, show, waiting
from cli.render import BatchName, say
from reconciler.operator import steering
from reconciler.operator.connect import operator
from reconciler.operator.wording import operand


def pause(batch: BatchName, yes: Harmless = False) -> None:  # noqa: ARG001 - see `Harmless`
    """Claim no more of a batch; what is in flight goes on."""
    back = f"`tracer resume {operand(batch)}`"
    with operator() as store:
        found = running(store.batch(batch))
        if found.paused:
            say(f"{batch} is paused already: {back}. Nothing was done.")
            return
        living = steering.living(store, found)
        show(
            f"Pauses {batch}: {waiting(living)}, {in_flight(living)} in flight go on", found, living
        )
        steering.pause(store, found)
    say(f"{batch} is paused: {back}.")


def resume(batch: BatchName, yes: Harmless = False) -> None:  # noqa: ARG001 - see `Harmless`
    """Go on with a batch that is paused."""
    with operator() as store:
        found = running(store.batch(batch))
        if not found.paused:
            say(f"{batch} is not paused. Nothing was done.")
            return
        living = steering.living(store, found)
        show(f"Resumes {batch}: {waiting(living)}, {in_flight(living)} in flight", found, living)
        steering.pause(store, found, paused=False)
    say(f"{batch} goes on with the next tick.")
