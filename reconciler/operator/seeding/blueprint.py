"""Checks a blueprint: its steps are registered, each is there once, and after those it needs."""

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote

from reconciler.contract.database import Connection
from reconciler.contract.errors import BadInput, did_you_mean

NEEDS = "SELECT step_name, needs FROM enrichment_registry"


def check_blueprint(steps: list[str], known: list[str]) -> None:
    """Check the steps of a blueprint; `known` are the registered ones.

    Raises:
        BadInput: it names a step twice, or one that is not registered.
    """
    for step in steps:
        if step not in known:
            registered = f" Registered: {', '.join(known)}." if known else ""
            near = did_you_mean(step, known)
            says = f"There is no step {step!r}.{near or registered}"
            raise BadInput(says, None if near else "tracer steps sync")
        if steps.count(step) > 1:
            raise BadInput(f"The blueprint names {step} twice: a batch does each step once.")


def check_buy(buy: Sequence[str], steps: Sequence[str], buying: Sequence[str]) -> None:
    """Check the steps that are to buy anew; `buying` are the registered ones that have answers.

    Raises:
        BadInput: one is not in the blueprint, or has no answers that could be used again.
    """
    for step in buy:
        if step not in steps:
            near = did_you_mean(step, steps) or f" It has: {', '.join(steps)}."
            raise BadInput(f"--buy names {step!r}, which is not in the blueprint.{near}")
        if step not in buying:
            raise BadInput(
                f"--buy names {step}, which keeps no answers: it always runs. Leave it out."
            )


def check_needs(connection: Connection, blueprint: Sequence[str]) -> None:
    """Check that each step comes after the steps whose results it needs.

    Raises:
        BadInput: one does not; all such steps are named, and the fix is a blueprint that is right.
    """
    registered = {row["step_name"]: row["needs"] for row in connection.execute(NEEDS)}
    needs: dict[str, Sequence[str]] = dict.fromkeys(blueprint, ()) | registered
    if wrong := list(_out_of_order(blueprint, needs)):
        right = corrected(blueprint, needs)
        fix = f"tracer seed FILE --blueprint {quote(','.join(right))}" if right else None
        raise BadInput(" ".join(wrong), fix)


def _out_of_order(blueprint: Sequence[str], needs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for place, step in enumerate(blueprint):
        for needed in needs[step]:
            if needed not in blueprint[:place]:
                yield (
                    f"Step {step} needs the result of {needed}: put {needed} before {step} in the "
                    "blueprint."
                )


def corrected(blueprint: Sequence[str], needs: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The blueprint in its order, but with all that a step needs before it.

    None if there is none: a step is not registered, or steps need each other in a circle.
    """
    order: list[str] = []
    placed = [_place(step, needs, order, ()) for step in blueprint]
    return order if all(placed) else None


def _place(
    step: str, needs: Mapping[str, Sequence[str]], order: list[str], above: tuple[str, ...]
) -> bool:
    """Append the step to the order after what it needs; `above` are the steps that need it."""
    if step in order:
        return True
    if step in above or step not in needs:
        return False
    placed = [_place(needed, needs, order, (*above, step)) for needed in needs[step]]
    order.append(step)
    return all(placed)
