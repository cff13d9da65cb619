"""The facts behind a reason: named values for programs, lines of text for people."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from reconciler.contract.states import ADVANCING, TERMINAL, Status
from reconciler.operator.diagnosis.row_facts import COUNTED, RowFacts
from reconciler.operator.money.providers import limit_text
from reconciler.operator.wording import counted, plural, since, until, when
from reconciler.provider_state import standing_text

# After a retry these still have the values of an attempt that no longer counts.
OF_AN_ATTEMPT = ("queued_at", "started_at", "call_id")


def by_name(row: RowFacts) -> dict[str, object]:
    """The facts that are known, as nested dicts; a fact without a value is left out."""
    forgiven = () if row.tries else OF_AN_ATTEMPT
    found = _known(row) | {"last": row.last}
    return {name: value for name, value in found.items() if name not in forgiven}


def _known(facts: object) -> dict[str, object]:
    """The fields of a dataclass that are not None; a dataclass in a field becomes a dict."""
    found = ((part.name, _plain(getattr(facts, part.name))) for part in fields(facts))  # type: ignore[arg-type]
    return {name: value for name, value in found if value not in (None, {}, [])}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return _known(value) if is_dataclass(value) else value


def in_words(row: RowFacts) -> dict[str, str]:
    """A label and a line of text for each known fact."""
    return dict(_lines(row))


def _lines(row: RowFacts) -> Iterator[tuple[str, str]]:
    paused = ", paused" if row.batch_paused else ""
    yield "step", f"{row.step}, {row.number} of {row.steps}"
    yield "status", f"{row.status}, {_tries(row)}"
    yield "batch", f"{row.batch}: {row.batch_status}{paused}, priority {row.priority}"
    yield from _moments(row)
    if row.call_id and row.tries:
        yield "call", row.call_id
    if row.error:
        yield "reason" if row.status in ADVANCING else "last error", row.error
    if row.group and row.status not in TERMINAL:
        died = plural(row.losses, "worker has died that had it", "workers have died that had it")
        yield (
            "losses",
            f"{died}: it goes out in a group of {row.group} at most, with nothing beside",
        )
    if row.status == Status.PENDING:
        yield from _queue(row)
    if row.polling_paused is not False:
        yield "polling", "paused" if row.polling_paused else "has no row"
    yield "last tick", since(row.ticked_at, row.now) if row.ticked_at else "none so far"
    yield from _observed(row)


def _tries(row: RowFacts) -> str:
    most = row.max_attempts or "?"
    if not row.tries:
        return f"no attempt yet, of {most}"
    failed = " failed" if row.status == Status.PENDING else ""
    return f"attempt {row.tries} of {most}{failed}"


def _moments(row: RowFacts) -> Iterator[tuple[str, str]]:
    if row.status == Status.PENDING:
        yield "available", when(row.available_at, row.now)
    if row.queued_at and row.tries:
        yield "claimed", since(row.queued_at, row.now)
    if row.started_at and row.tries:
        yield "begun", since(row.started_at, row.now)
    if row.send_at:
        yield "call goes out", when(row.send_at, row.now)
    if lease := row.lease_expires_at:
        ran_out = f"ran out at {since(lease, row.now)}"
        yield "lease", ran_out if row.lease_over else f"runs until {until(lease, row.now)}"
    if row.finished_at:
        yield "ended", since(row.finished_at, row.now)


def _queue(row: RowFacts) -> Iterator[tuple[str, str]]:
    """The facts about the step that decide a claim."""
    if row.enabled is None:
        yield "registry", f"{row.step} is not in it"
        return
    over = f", {row.expired} with a lease that is over" if row.expired else ""
    disabled = "" if row.enabled else "; the step is disabled"
    yield "in flight", f"{row.in_flight} of {row.max_in_flight}{over}{disabled}"
    if row.throttled and row.held_until:
        yield "throttled", f"until {until(row.held_until, row.now)}: {row.held_because}"
    elif row.allowance:
        why = row.held_because or "it doubles with every tick whose calls are all taken"
        yield "throttled", f"{plural(row.allowance, 'row', 'rows')} at a time: {why}"
    if state := row.limits:
        of = "" if state.at_a_time is None else f" of {state.at_a_time}"
        yield "provider", f"{state.name}: {standing_text(state, lambda at: until(at, state.now))}"
        yield "its limit", f"{limit_text(state)}; {state.under_way}{of} calls under way"
    if claim := row.next_claim:
        sharing = claim.sharing - 1
        more = plural(sharing, "more batch", "more batches")
        others = f" and {more} of its priority" if sharing > 0 else ""
        free = plural(claim.free, "row", "rows")
        yield "before it", f"{counted(claim.ahead, COUNTED)} of its batch"
        yield "next claim", f"{free} at most, {claim.mark:,} of its batch{others}"
        if claim.higher:
            higher = plural(claim.higher, "row", "rows")
            yield "higher priority", f"{higher}, of priority {claim.highest} at most"


def _observed(row: RowFacts) -> Iterator[tuple[str, str]]:
    seen = row.observed
    if seen.prefect:
        yield "Prefect", seen.prefect.says
    if seen.schedule:
        yield "Prefect's API", seen.schedule.api_url
        if seen.schedule.next_run_at:
            yield "next run", when(seen.schedule.next_run_at, row.now)
    if seen.workers_fault:
        yield "workers", f"{seen.workers}: {seen.workers_fault.says}"
    elif seen.workers_ready:
        ready = "the function is deployed" if seen.workers == "modal" else "the worker host runs"
        yield "workers", f"{seen.workers}: {ready}"
    if seen.host_since:
        yield "host started", since(seen.host_since, row.now)
