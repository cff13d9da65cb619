"""`tracer delete`: remove a batch that has ended, or a company, from the database."""

from dataclasses import asdict
from typing import Annotated

import typer

from cli.completion import batch_names
from cli.confirm import Yes, ask, confirm, moving, total
from cli.render import AsJson, answer
from reconciler.contract.errors import BadInput
from reconciler.operator import deletion
from reconciler.operator.batch import known_key
from reconciler.operator.connect import operator
from reconciler.operator.store import OperatorStore
from reconciler.operator.wording import plural


def delete(
    batch: Annotated[
        str | None, typer.Argument(help="The batch's name.", autocompletion=batch_names)
    ] = None,
    company: Annotated[
        str | None, typer.Option(help="The company with this key, in all batches.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete a batch for good, or a company. A batch that runs is refused.

    With a batch go its rows, their attempts and its history; companies and results stay. With a
    company go its results, older ones too, and its rows in all batches.
    """
    if (batch is None) == (company is None):
        raise BadInput("Name either a batch or a --company.")
    with operator() as store:
        if batch is not None:
            _batch(store, batch, yes, as_json)
        else:
            _company(store, known_key(store, company or ""), yes, as_json)


def _batch(store: OperatorStore, name: str, yes: bool, as_json: bool) -> None:
    found = store.batch(name)
    deletion.require_ended(store, found)
    rows = deletion.rows_of(store, found)
    has = f"{plural(found.companies, 'company', 'companies')}, {plural(total(rows), 'row', 'rows')}"
    confirm(f"Deletes {name}, with its history: {has}", found, rows, yes, as_json)
    companies_of = [{"rows": found.companies}]
    with moving(companies_of, "company", "companies") as show_deleted:
        companies = deletion.delete_batch(store, found, show_deleted)
    answer(
        as_json,
        {"batch": name, "companies": companies, "rows": total(rows)},
        f"{name} is deleted, with {plural(total(rows), 'row', 'rows')}. Results stay.",
    )


def _company(store: OperatorStore, key: str, yes: bool, as_json: bool) -> None:
    batches = deletion.batches_of(store, key)
    names = ", ".join(batch["name"] for batch in batches[:5])
    more = f" and {len(batches) - 5:,} more" if len(batches) > 5 else ""
    where = f"its rows in {names}{more}" if batches else "it is in no batch"
    ask(f"Deletes the company {key}, with its results: {where}", yes, as_json)
    gone = deletion.delete_company(store, key)
    results = plural(gone.results + gone.superseded, "result", "results")
    told = f"{plural(gone.rows, 'row', 'rows')} and {results}"
    answer(
        as_json,
        {"company": key, **asdict(gone)},
        f"{key} is deleted, with {told}.",
    )
