"""What always holds, as a comparison of what was read before a verb and after it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import product
from typing import Any, NamedTuple

from reconciler.contract.claimed import GROUP_SIZES, Chunk
from reconciler.contract.database import Connection, Row
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.states import (
    ADVANCING,
    IN_FLIGHT,
    TERMINAL,
    TRANSITIONS,
    BatchStatus,
    Status,
)
from reconciler.operator.diagnosis.explain import explain
from reconciler.operator.diagnosis.row_facts import RowFacts
from reconciler.operator.sql.diagnosis import EXPLAIN
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA
from workers.steps.step_b import StepB

Edge = tuple[Status | None, Status]
# The verbs of TRANSITIONS, with those that write on a row and leave its state.
EDGES: dict[str, set[Edge]] = {}
for t in TRANSITIONS:
    EDGES.setdefault(t.verb, set()).update(product(t.sources or (None,), t.targets))
EDGES["advance"].add((None, Status.PENDING))
EDGES["cancel"] |= {(status, status) for status in (*ADVANCING, Status.FAILED)}
EDGES["note_unknown"] = {(Status.QUEUED, Status.QUEUED)}
EDGES["record_calls"] = {(status, status) for status in Status}
EDGES["cancel_calls"] = {(Status.CANCELLED, Status.CANCELLED)}
# A worker's release, which may wait for others; a conductor's never does.
EDGES["hand_back"] = {(status, Status.PENDING) for status in IN_FLIGHT}
EDGES["time"] = {(s, s) for s in Status if s not in TERMINAL}
TICK = (
    "give_back",
    "reap",
    "advance",
    "claim",
    "record_calls",
    "release",
    "note_unknown",
    "cancel_calls",
    "finish",
)
# Whom a conductor's verb may wait for: it passes over what others hold. A cancel takes the turn of
# the claims, for as long as it takes to end what is in flight.
WAITS_FOR: dict[str, set[str]] = {
    "claim": {"claim", "cancel"},
    "tick": {"claim", "cancel"},
    "reap": set(),
    "advance": set(),
    "finish": set(),
    "record_calls": set(),
    "release": set(),
    "note_unknown": set(),
}
LOGGED = ("arrived", *(status.lower() for status in ADVANCING))
RESULTS: dict[str, Callable[[int], Any]] = {
    "normalize": lambda mark: Normalized(domain=str(mark)),
    "step_a": lambda mark: StepA(attribute_count=mark),
    "step_b": lambda mark: StepB(greeting=str(mark)),
}
EMPTY = {"normalize": Normalized}  # of the steps that may find nothing

# All in one statement and one value: this is read after every verb.
EVERYTHING = """
SELECT json_build_array(
    (SELECT json_agg(w) FROM workflow_states w),
    (SELECT json_agg(b ORDER BY id) FROM batches b),
    (SELECT json_agg(s) FROM (
        SELECT * FROM enrichment_registry LEFT JOIN throttles USING (step_name)) s),
    (SELECT json_agg(r) FROM (
        SELECT 'normalize' AS step, company_id, domain AS mark, written_for FROM results.normalized
        UNION ALL SELECT 'step_a', company_id, attribute_count::text, written_for
            FROM results.step_a
        UNION ALL SELECT 'step_b', company_id, greeting, written_for FROM results.step_b) r),
    (SELECT json_agg(s) FROM (
        SELECT CASE table_name WHEN 'normalized' THEN 'normalize' ELSE table_name END AS step,
            company_id, batch_id AS written_for, coalesce(result ->> 'domain',
                result ->> 'attribute_count', result ->> 'greeting') AS mark
        FROM results.superseded) s),
    (SELECT json_agg(a) FROM (
        SELECT company_id, step_name, batch_id, attempt FROM attempts) a),
    (SELECT json_agg(p) FROM (
        SELECT batch_id, position, sum(arrived) AS arrived, sum(completed) AS completed,
            sum(not_found) AS not_found, sum(skipped) AS skipped
        FROM progress GROUP BY batch_id, position) p)
) AS seen
"""
# Every company's facts in one statement.
EXPLAINED = f"""
SELECT f.* FROM batch_companies m JOIN companies k ON k.id = m.company_id
CROSS JOIN LATERAL ({EXPLAIN % {"batch_id": "m.batch_id", "key": "k.key"}}) f
"""


Found = tuple[str | None, int]  # a mark, None where nothing was found; for which batch


class Key(NamedTuple):
    """A row's natural key."""

    company_id: int
    step_name: str
    batch_id: int


@dataclass(frozen=True)
class Seen:
    """All that is committed at one moment, or that one transaction would leave behind."""

    rows: dict[Key, Row]
    batches: dict[int, Row]
    steps: dict[str, Row]
    landed: dict[tuple[str, int], Found]
    kept: Counter[tuple[str, int, Found]]  # what another result has taken the place of
    ended: set[tuple[Key, int]]
    logged: dict[tuple[int, int], list[int]]  # of batch and position, as `LOGGED`

    def in_flight(self) -> list[Key]:
        return [key for key, row in self.rows.items() if row["status"] in IN_FLIGHT]

    def claimable(self, key: Key, moment: datetime) -> bool:
        """Whether nothing but a capacity keeps the row from being claimed."""
        row, batch = self.rows[key], self.batches[key.batch_id]
        waits = row["status"] == Status.PENDING and parsed(row["available_at"]) <= moment
        return waits and batch["status"] == BatchStatus.RUNNING and not batch["paused"]


def parsed(moment: str) -> datetime:
    """A moment as JSON has it."""
    return datetime.fromisoformat(moment)


def key_of(row: Mapping[str, Any]) -> Key:
    return Key(row["company_id"], row["step_name"], row["batch_id"])


def read(connection: Connection) -> Seen:
    """What the connection sees."""
    found = connection.execute(EVERYTHING).fetchone()
    assert found is not None
    rows, batches, steps, landed, kept, ended, logged = (part or [] for part in found["seen"])
    return Seen(
        rows={key_of(row): row for row in rows},
        batches={row["id"]: row for row in batches},
        steps={row["step_name"]: row for row in steps},
        landed={(row["step"], row["company_id"]): found_in(row) for row in landed},
        kept=Counter((row["step"], row["company_id"], found_in(row)) for row in kept),
        ended={(key_of(row), row["attempt"]) for row in ended},
        logged={(p["batch_id"], p["position"]): [p[name] for name in LOGGED] for p in logged},
    )


def found_in(row: Mapping[str, Any]) -> Found:
    return row["mark"], row["written_for"]


def keys_of(chunks: Iterable[Chunk]) -> dict[Key, int]:
    """The attempt of each row of `chunks`."""
    return {
        Key(company, chunk.step_name, batch): attempt
        for chunk in chunks
        for company, batch, attempt in zip(
            chunk.company_ids, chunk.batch_ids, chunk.attempts, strict=True
        )
    }


@cache
def paths(verbs: tuple[str, ...]) -> set[Edge]:
    """From where to where a row may come by one or more of `verbs`."""
    found: set[Edge] = {edge for verb in verbs for edge in EDGES.get(verb, ())}
    while more := {(a, d) for (a, b), (c, d) in product(found, found) if b == c} - found:
        if len(verbs) == 1:
            break
        found |= more
    return found


def check_moves(
    before: Seen, after: Seen, verbs: tuple[str, ...], may: Callable[..., bool]
) -> None:
    """Every row that differs went along edges of `verbs`, and was one that they may touch."""
    assert before.rows.keys() <= after.rows.keys()
    assert before.ended <= after.ended
    allowed = paths(verbs)
    for key, row in after.rows.items():
        old = before.rows.get(key)
        if row == old:
            continue
        edge = (old and old["status"], row["status"])
        assert edge in allowed, f"{key} went {edge} by {verbs}"
        assert may(key, old), f"{verbs} touched {key}, which it does not hold: {old}"
        if old and (row["forgiven"] != old["forgiven"] or verbs == ("retry",)):
            check_forgiven(old, row, verbs)
        step = row["attempt"] - (old["attempt"] if old else 0)
        queued = old and old["status"] == Status.QUEUED
        came_back = row["status"] == Status.PENDING
        released = {"release", "hand_back"} & set(verbs) or ("give_back" in verbs and came_back)
        least, most = -bool(queued and released), ("claim" in verbs)
        steps = (least + most,) if len(verbs) == 1 else range(least, most + 1)
        assert step in steps, f"{key}: attempt {step:+} by {verbs}"


def check_forgiven(old: Row, row: Row, verbs: tuple[str, ...]) -> None:
    """An operator's retry forgives all attempts, a reap the one whose spawn had no answer or whose
    worker was lost with others, a release the one that it was told not to make."""
    by = {"retry": old["attempt"], "reap": old["forgiven"] + 1, "hand_back": old["forgiven"] + 1}
    assert row["forgiven"] in [by[verb] for verb in verbs if verb in by]
    if verbs == ("reap",):
        lost = row["losses"] == old["losses"] + 1 <= len(GROUP_SIZES)
        assert lost or old["error_kind"] == ErrorKind.SPAWN_UNKNOWN


def check_world(seen: Seen) -> None:
    """What holds of one moment."""
    check_log(seen)
    flights = [(key.company_id, key.step_name) for key in seen.in_flight()]
    assert len(flights) == len(set(flights)), "two rows of a company and step are in flight"
    for key, row in seen.rows.items():
        batch = seen.batches[key.batch_id]
        live = row["status"] not in TERMINAL
        assert (row["lease_expires_at"] is not None) == (row["status"] in IN_FLIGHT)
        assert not live or batch["status"] == BatchStatus.RUNNING, f"{key} lives in {batch}"
        assert batch["steps"][row["position"]] == key.step_name
        if row["status"] == Status.COMPLETED:
            assert (key.step_name, key.company_id) in seen.landed, f"{key} without its result"
        if row["status"] in ADVANCING or (row["status"] == Status.FAILED and row["in_waterfall"]):
            check_successor(seen, key, row, batch)


def check_log(seen: Seen) -> None:
    """The log of progress sums up to what is there."""
    counted: dict[tuple[int, int], list[int]] = {}
    for key, row in seen.rows.items():
        counts = counted.setdefault((key.batch_id, row["position"]), [0] * len(LOGGED))
        counts[0] += 1
        if row["advanced"] and row["status"] in ADVANCING:
            counts[LOGGED.index(row["status"].lower())] += 1
    assert counted == seen.logged


def check_successor(seen: Seen, key: Key, row: Row, batch: Row) -> None:
    """What is advanced goes on, in a waterfall past it if it was found; a batch does not end before
    all is. What was retried in a waterfall may have gone on before."""
    past = batch["past"] and batch["past"][row["position"]]
    assert row["in_waterfall"] == bool(past)
    found = past and row["status"] == Status.COMPLETED
    place = past if found else row["position"] + 1
    if place == len(batch["steps"]):
        return
    after = Key(key.company_id, batch["steps"][place], key.batch_id)
    if batch["status"] != BatchStatus.CANCELLED:
        gone_on = after in seen.rows
        allowed = (True,) if row["advanced"] else (False, bool(past))
        assert gone_on in allowed, f"{key} and what follows it"
    if batch["status"] == BatchStatus.FINISHED:
        assert row["advanced"], f"{batch} ended before {key} had gone on"


def check_claim(
    at: Seen, now: Seen, moment: datetime, chunks: Sequence[Chunk], alone: bool
) -> None:
    """A claim takes what may be taken, within the capacity, and the higher priority first."""
    claimed = keys_of(chunks)
    check_capacity(at, now, chunks)
    for chunk in chunks:
        step = at.steps[chunk.step_name]
        taken = [key for key in claimed if key.step_name == chunk.step_name]
        assert step["held_until"] is None or parsed(step["held_until"]) <= moment
        assert step["allowance"] is None or len(taken) <= step["allowance"]
    for key, attempt in claimed.items():
        assert at.claimable(key, moment), f"{key} was claimed: {at.rows[key]}"
        assert attempt == at.rows[key]["attempt"] + 1
    if alone:
        check_priority(at, now, moment, claimed)


def check_capacity(at: Seen, now: Seen, chunks: Sequence[Chunk]) -> None:
    """What was claimed by the settings `at` that moment is within them."""
    for chunk in chunks:
        step = at.steps[chunk.step_name]
        flying = [key for key in now.in_flight() if key.step_name == chunk.step_name]
        assert len(chunk.company_ids) <= step["chunk_size"]
        assert len(flying) <= step["max_in_flight"], f"{len(flying)} {chunk.step_name} in flight"
        assert step["enabled"]


def check_priority(at: Seen, now: Seen, moment: datetime, claimed: Iterable[Key]) -> None:
    """Nothing of a higher priority is left that could have been taken instead."""
    flying = {(key.company_id, key.step_name) for key in now.in_flight()}
    left = [
        key
        for key in at.rows.keys() - set(claimed)
        if at.claimable(key, moment) and (key.company_id, key.step_name) not in flying
    ]
    for low, high in product(claimed, left):
        if low.step_name == high.step_name:
            priorities = [at.batches[key.batch_id]["priority"] for key in (low, high)]
            assert priorities[0] >= priorities[1], f"{low} was claimed, {high} was not"


def check_reasons(connection: Connection) -> None:
    """Whatever has not ended has a reason."""
    for row in connection.execute(EXPLAINED.encode()):
        assert explain(RowFacts(**row)).says
