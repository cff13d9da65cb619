"""`tracer explain`: the one true reason that a company is where it is, and what would move it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.render import AsJson, BatchName, document, out, text
from reconciler.contract.errors import WrongSchema
from reconciler.contract.settings import load_settings
from reconciler.operator.diagnosis.explain import explain as reason_of
from reconciler.operator.diagnosis.explain import other_schema
from reconciler.operator.diagnosis.observers import at_server, look
from reconciler.operator.diagnosis.read_only import looking
from reconciler.operator.diagnosis.row_facts import COUNTED, Facts, Reason
from reconciler.operator.wording import counted, since, until, when

CompanyKey = Annotated[str, typer.Argument(metavar="COMPANY", help="The company's key.")]


def explain(batch: BatchName, company: CompanyKey, as_json: AsJson = False) -> None:
    """Say why a company is where it is in a batch, and what would move it."""
    named: dict[str, Any] = {"batch": batch, "company": company}
    try:
        with looking() as store:
            facts = store.facts(store.batch(batch), company)
    except WrongSchema as error:
        reason = other_schema(error.found, error.needed)
        revisions = {"revision": error.found, "needed": error.needed}
        show(named | {"step": None, "status": None}, reason, revisions, False, as_json)
        return
    facts = replace(facts, outside=look(load_settings(), facts))
    named |= {"step": facts.step, "status": facts.status}
    evidence = facts.evidence() if as_json else dict(told(facts))
    reason = reason_of(facts)
    reason = replace(reason, fix=at_server(reason.fix))
    ended = facts.finished_at is not None and (facts.last or facts.batch_status == "CANCELLED")
    moves = facts.status not in ("FAILED", "CANCELLED") and not ended
    show(named, reason, evidence, moves, as_json)


def show(
    named: dict[str, Any], reason: Reason, evidence: dict[str, Any], moves: bool, as_json: bool
) -> None:
    """The sentence, the command under it, and the evidence; `moves` where the row has not ended."""
    if as_json:
        document({**named, "reason": reason.says, "fix": reason.fix, "evidence": evidence})
        return
    out.print(text(f"{reason.says.rstrip('.')}."), style="bold")
    if reason.fix:
        out.print(text(f"What would move it: {reason.fix}"), soft_wrap=True)
    elif moves:
        out.print(text("It moves by itself: no command is needed."))
    shown = Table(box=None, show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for label, value in evidence.items():
        shown.add_row(text(label), text(value))
    out.print(shown)


def told(facts: Facts) -> Iterator[tuple[str, str]]:
    """The evidence in words, a label and a line for each thing that is known."""
    yield "step", f"{facts.step}, {facts.number} of {facts.steps}"
    yield "status", f"{facts.status}, {_tries(facts)}"
    yield "batch", _batch(facts)
    yield from _moments(facts)
    if facts.call_id and facts.tries:
        yield "call", facts.call_id
    if facts.error:
        yield "last error", facts.error
    if facts.status == "PENDING":
        yield from _queue(facts)
    if facts.polling_paused is not False:
        yield "polling", "paused" if facts.polling_paused else "has no row"
    yield "last tick", since(facts.ticked_at, facts.now) if facts.ticked_at else "none so far"
    yield from _outside(facts)


def _tries(facts: Facts) -> str:
    most = facts.max_attempts or "?"
    if not facts.tries:
        return f"no attempt yet, of {most}"
    failed = " failed" if facts.status == "PENDING" else ""
    return f"attempt {facts.tries} of {most}{failed}"


def _batch(facts: Facts) -> str:
    paused = ", paused" if facts.batch_paused else ""
    return f"{facts.batch}: {facts.batch_status}{paused}, priority {facts.priority}"


def _moments(facts: Facts) -> Iterator[tuple[str, str]]:
    now = facts.now
    if facts.status == "PENDING":
        yield "available", when(facts.available_at, now)
    if facts.queued_at and facts.tries:
        yield "claimed", since(facts.queued_at, now)
    if facts.started_at and facts.tries:
        yield "begun", since(facts.started_at, now)
    if lease := facts.lease_expires_at:
        ended = f"ran out at {since(lease, now)}"
        yield "lease", ended if lease <= now else f"runs until {until(lease, now)}"
    if facts.finished_at:
        yield "ended", since(facts.finished_at, now)


def _queue(facts: Facts) -> Iterator[tuple[str, str]]:
    """What a claim of the step would go by."""
    if facts.enabled is None:
        yield "registry", f"{facts.step} is not in it"
        return
    over = f", {facts.expired} with a lease that is over" if facts.expired else ""
    disabled = "" if facts.enabled else "; the step is disabled"
    yield "in flight", f"{facts.in_flight} of {facts.max_in_flight}{over}{disabled}"
    if facts.held_until and facts.held_until > facts.now:
        yield "slowed down", f"until {until(facts.held_until, facts.now)}: {facts.held_because}"
    elif facts.allowance:
        why = facts.held_because or "twice as many with each claim that is taken, after refusals"
        yield "slowed down", f"{facts.allowance} rows at a time: {why}"
    if turn := facts.turn:
        others = f" and {turn.sharing - 1} more batches of its priority" if turn.sharing > 1 else ""
        yield "before it", f"{counted(turn.ahead, COUNTED)} of its batch"
        yield "next claim", f"{turn.free:,} rows at most, {turn.mark:,} of its batch{others}"
        if turn.higher:
            yield "higher priority", f"{turn.higher:,} rows, of priority {turn.highest} at most"


def _outside(facts: Facts) -> Iterator[tuple[str, str]]:
    outside = facts.outside
    if outside.prefect:
        where = f", at {outside.prefect_url}" if outside.prefect_url else ""
        yield "Prefect", f"{outside.prefect}{where}"
    if outside.next_run_at:
        yield "next run", when(outside.next_run_at, facts.now)
    if outside.workers_ready is not None:
        what = "deployed function" if outside.workers == "modal" else "worker host"
        there = outside.workers_fault or f"{what} there"
        yield "workers", f"{outside.workers}, {there}"
    if outside.host_since:
        yield "host started", since(outside.host_since, facts.now)
