"""The operator's word: `tracer retry`, `pause`, `resume`, `cancel`; and `tracer explain`."""

import sys
from typing import Annotated

import typer

from cli.connect import operator
from cli.render import AsJson, BatchName, document, out, say, table, text
from reconciler.contract.errors import BadInput
from reconciler.contract.explain import explain as reason_of
from reconciler.contract.states import IN_FLIGHT, BatchStatus, Status

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
CompanyKey = Annotated[str, typer.Argument(metavar="COMPANY", help="The company's key.")]


def cancel(batch: BatchName, yes: Yes = False) -> None:
    """End a batch: nothing more of it is spawned, what runs is told to stop, results stay."""
    with operator() as store:
        found = store.batch(batch)
        if found.status != BatchStatus.RUNNING:
            raise BadInput(f"Batch {batch!r} has ended already: it is {found.status}.")
        steps = store.progress(found)["steps"]
        pending = sum(step[Status.PENDING] for step in steps)
        in_flight = sum(step[status] for step in steps for status in IN_FLIGHT)
        confirm(f"Cancels {batch}: {pending} rows pending, {in_flight} in flight", yes)
        cancelled = store.cancel(found)
    calls = " The next tick cancels their calls." if in_flight else ""
    say(f"{batch}: {cancelled} rows cancelled.{calls}")


def retry(
    batch: BatchName,
    step: Annotated[str | None, typer.Option(help="Only rows of this step.")] = None,
    error: Annotated[
        str | None, typer.Option(help="Only rows with this text in their error.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Give failed rows all their attempts again."""
    with operator() as store:
        found = store.batch(batch)
        if step is not None and step not in found.blueprint:
            raise BadInput(f"{batch} has no step {step!r}: {', '.join(found.blueprint)}.")
        count = store.count_failed(found, step, error)
        if not count:
            say(f"{batch}: no failed row is like that. Nothing was done.")
            return
        confirm(f"Retries {batch}: {count} failed rows", yes)
        retried = store.retry(found, step, error)
    say(f"{batch}: {retried} rows are pending again.")


def pause(batch: BatchName) -> None:
    """Claim no more of a batch; what is in flight goes on."""
    with operator() as store:
        store.pause(store.batch(batch))
    say(f"{batch} is paused: `tracer resume {batch}`.")


def resume(batch: BatchName) -> None:
    """Go on with a batch that is paused."""
    with operator() as store:
        store.pause(store.batch(batch), paused=False)
    say(f"{batch} goes on with the next tick.")


def confirm(what: str, yes: bool) -> None:
    """Say what will be done, and ask; a script says --yes.

    Raises:
        BadInput: nobody is there to ask.
        typer.Abort: the person said no.
    """
    if yes:
        say(f"{what}.")
    elif sys.stdin.isatty():
        typer.confirm(f"{what}. Go on?", abort=True, err=True)
    else:
        raise BadInput(f"{what}. Nothing was done: say --yes.")


def explain(batch: BatchName, company: CompanyKey, as_json: AsJson = False) -> None:
    """Say why a company is where it is in a batch, and what would move it."""
    with operator() as store:
        facts = store.facts(store.batch(batch), company)
    reason = reason_of(facts)
    if as_json:
        named = {"batch": batch, "company": company, "step": facts.step, "status": facts.status}
        told = {"reason": reason.says, "mend": reason.mend, "evidence": facts.evidence()}
        document({**named, **told})
        return
    out.print(text(f"{reason.says.rstrip('.')}."), style="bold")
    if reason.mend:
        out.print(text(f"What would move it: {reason.mend}"))
    out.print(table(["", ""], facts.evidence().items()))
