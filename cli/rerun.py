"""`tracer rerun`: have the ended rows of a step worked again."""

from typing import Annotated

import typer

from cli.again import work_again
from cli.completion import step_names
from cli.confirm import Yes
from cli.render import AsJson, BatchName
from reconciler.contract.errors import BadInput, did_you_mean
from reconciler.operator.sql.rerun import ENDED_ROWS
from reconciler.operator.steering import Rerun


def rerun(
    batch: BatchName,
    step: Annotated[str, typer.Option(help="The step.", autocompletion=step_names)],
    where: Annotated[
        str, typer.Option(help=f"Which of its ended rows: {', '.join(ENDED_ROWS)}.")
    ] = "all",
    buy: Annotated[bool, typer.Option("--buy", help="Buy again, though answers are kept.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have the ended rows of a step worked again, from the next tick on.

    Answers that are kept are used; only what they do not have is bought.
    """
    if where not in ENDED_ROWS:
        near = did_you_mean(where, ENDED_ROWS) or f" It is one of: {', '.join(ENDED_ROWS)}."
        raise BadInput(f"--where {where!r} is not known.{near}")
    work_again(batch, Rerun(step, where, buy=buy), yes, as_json)
