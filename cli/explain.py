"""`tracer explain`: the reason that a company does not move, and the command that would move it."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.render import AsJson, BatchName, document, out, text
from reconciler.contract.errors import NoRevision, WrongSchema
from reconciler.contract.settings import load_settings
from reconciler.operator.diagnosis import evidence
from reconciler.operator.diagnosis.explain import explain as reason_of
from reconciler.operator.diagnosis.explain import moves_by_itself, read_and_observe
from reconciler.operator.diagnosis.reason import Reason
from reconciler.operator.diagnosis.rules.loop import schema_damaged, wrong_schema
from reconciler.operator.read_only import read_only_store

CompanyKey = Annotated[str, typer.Argument(metavar="COMPANY", help="The company's key.")]


def explain(batch: BatchName, company: CompanyKey, as_json: AsJson = False) -> None:
    """Say why a company is where it is in a batch, and which command would move it."""
    named: dict[str, Any] = {"batch": batch, "company": company}
    try:
        with read_only_store() as store:
            row = read_and_observe(store, load_settings(), store.batch(batch), company)
    except WrongSchema as error:
        known = {"revision": error.found, "needed": error.needed}
        show(named | {"step": None, "status": None}, wrong_schema(error), known, False, as_json)
        return
    except NoRevision as error:
        known = {"needed": error.needed}
        damaged = schema_damaged(error.says, error.fix)
        show(named | {"step": None, "status": None}, damaged, known, False, as_json)
        return
    named |= {"step": row.step, "status": row.status}
    facts: dict[str, Any] = evidence.by_name(row) if as_json else dict(evidence.in_words(row))
    show(named, reason_of(row), facts, moves_by_itself(row), as_json)


def show(
    named: dict[str, Any], reason: Reason, known: dict[str, Any], moves: bool, as_json: bool
) -> None:
    """Show the reason, the command and the evidence; `moves` if the row goes on by itself."""
    if as_json:
        document({**named, **asdict(reason), "evidence": known})
        return
    out.print(text(f"{reason.says.rstrip('.')}."), style="bold")
    if reason.fix:
        out.print(text(f"This command would move it: {reason.fix}"), soft_wrap=True)
    elif moves:
        out.print(text("It moves by itself: no command is needed."))
    shown = Table(box=None, show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for label, value in known.items():
        shown.add_row(text(label), text(value))
    out.print(shown)
