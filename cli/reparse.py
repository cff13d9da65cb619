"""`tracer reparse`: have a step read its kept answers again, without a call."""

from typing import Annotated

import typer

from cli.again import work_again
from cli.completion import step_names
from cli.confirm import Yes
from cli.render import AsJson, BatchName
from reconciler.operator.steering import Rerun


def reparse(
    batch: BatchName,
    step: Annotated[str, typer.Option(help="The step.", autocompletion=step_names)],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have a step read the answers that are kept for its rows again: no call is made.

    For a step that reads more of an answer now, or reads it rightly.
    """
    work_again(batch, Rerun(step, kept=True), yes, as_json)
