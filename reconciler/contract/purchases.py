"""The second half of a claim: rows of steps that cost something get their orders.

It runs in the claim's transaction, and so under the claim's lock: two ticks cannot buy the same
thing, or use the same room of a cap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from reconciler.contract.calls import Key, give_times
from reconciler.contract.caps import Purchase, Scope, allot, reserved, scopes_of
from reconciler.contract.claimed import Chunk, Expired, expired_arrays, row_arrays
from reconciler.contract.database import Connection
from reconciler.contract.sql import orders as queries

MAY_BE_CHARGED = (
    "an earlier call may have been charged, and its answer is not known: see `tracer orders "
    "--unknown`"
)


@dataclass(frozen=True)
class Place:
    """What a claimed row gets. `ends`: the status in which it is left, None to stay QUEUED.

    `calls`: a call to its provider will be made. `until`: it is PENDING until then.
    """

    verdict: str = "new"
    order_id: UUID | None = None
    ends: str | None = None
    calls: bool = True
    until: datetime | None = None


WAITS = Place("wait", ends="PENDING", calls=False)


def place_orders(connection: Connection, chunks: Sequence[Chunk], now: datetime) -> list[Chunk]:
    """Give each row of `chunks` its order; returns the chunks with the rows that are to be worked.

    The others have ended, or are PENDING again: a fresh answer was there, a cap is full, or an
    earlier call may have been charged.
    """
    places = judged(connection, chunks, now)
    calling = [key for key, place in places.items() if place.calls]
    times = give_times(connection, chunks, calling, now)
    places |= dict.fromkeys(times.late, WAITS)
    purchases, of_purchase = wanted(chunks, places)
    amounts = dict[Scope, Decimal]()
    if purchases:
        left = caps_left(connection, scopes_of(purchases, now))
        allowed = allot(purchases, left, now)
        for keys, orders in zip(of_purchase, allowed, strict=True):
            for key in keys[orders:]:
                places[key] = WAITS
        amounts = reserved(purchases, allowed, now)
    connection.execute(
        queries.PLACE,
        {
            **row_arrays(chunks),
            "verdicts": [places[key].verdict for key in keys_of(chunks)],
            "order_ids": [places[key].order_id for key in keys_of(chunks)],
            "ends": [places[key].ends for key in keys_of(chunks)],
            "untils": [places[key].until for key in keys_of(chunks)],
            "send_ats": [
                None if places[key].ends else times.send_at.get(key) for key in keys_of(chunks)
            ],
            **times.arrays(),
            **terms_of(chunks),
            "now": now,
            "may_be_charged": MAY_BE_CHARGED,
            **scope_arrays(list(amounts)),
            "amounts": list(amounts.values()),
        },
    )
    return [kept for chunk in chunks if (kept := without_ended(chunk, places)).company_ids]


def fence_orders(connection: Connection, rows: Sequence[Expired]) -> list[Expired]:
    """Take the right to call from attempts that have expired; returns them with what they sent."""
    if not any(row.has_orders for row in rows):
        return list(rows)
    found = {
        (row["company_id"], row["step_name"]): row["sent_at"]
        for row in connection.execute(queries.FENCE, expired_arrays(rows))
    }
    return [replace(row, sent_at=found.get((row.company_id, row.step_name))) for row in rows]


def judged(connection: Connection, chunks: Sequence[Chunk], now: datetime) -> dict[Key, Place]:
    """What each row gets, by what its company and step have bought before."""
    places = {key: Place() for key in keys_of(chunks)}
    for row in connection.execute(queries.JUDGE, {**row_arrays(chunks), "now": now}):
        ends = {"reuse": row["ended_as"], "unknown": "FAILED"}.get(row["verdict"])
        key = row["company_id"], row["step_name"]
        if row["verdict"] == "attach" and row["at_door_until"] and row["at_door_until"] > now:
            places[key] = replace(WAITS, until=row["at_door_until"])
            continue
        calls = row["verdict"] == "replace" or (row["verdict"] == "attach" and row["calls"])
        places[key] = Place(row["verdict"], row["order_id"], ends, calls)
    return places


def wanted(
    chunks: Sequence[Chunk], places: dict[Key, Place]
) -> tuple[list[Purchase], list[list[Key]]]:
    """The orders that are to be made, by step and batch, and the rows of each."""
    groups: dict[tuple[str, int], list[Key]] = {}
    of_step = {chunk.step_name: chunk for chunk in chunks}
    for chunk in chunks:
        for company_id, batch_id in zip(chunk.company_ids, chunk.batch_ids, strict=True):
            key = company_id, chunk.step_name
            if places[key].verdict in ("new", "replace"):
                groups.setdefault((chunk.step_name, batch_id), []).append(key)
    clients = {batch: name for chunk in chunks for batch, name in (chunk.clients or {}).items()}
    purchases = [
        Purchase(
            step,
            batch_id,
            clients.get(str(batch_id)),
            of_step[step].provider,
            of_step[step].price,
            len(keys),
        )
        for (step, batch_id), keys in groups.items()
    ]
    return purchases, list(groups.values())


def caps_left(connection: Connection, of_scopes: Sequence[Scope]) -> dict[Scope, Decimal | None]:
    """What each scope may still cost; its row is locked, and made if it is missing."""
    asked = scope_arrays(of_scopes)
    found = connection.execute(queries.CAPS, asked).fetchall()
    if len(found) < len(of_scopes):
        connection.execute(queries.BEGIN_CAPS, asked)
        found = connection.execute(queries.CAPS, asked).fetchall()
    return {(row["scope"], row["since"]): row["left"] for row in found}


def scope_arrays(of_scopes: Sequence[Scope]) -> dict[str, list[object]]:
    """The parallel arrays by which statements name scopes."""
    return {"scopes": [s for s, _ in of_scopes], "sinces": [since for _, since in of_scopes]}


def terms_of(chunks: Sequence[Chunk]) -> dict[str, list[object]]:
    """What an order of each step costs, and where, as the claim has read it."""
    of_step = {chunk.step_name: chunk for chunk in chunks}
    return {
        "priced": list(of_step),
        "prices": [chunk.price for chunk in of_step.values()],
        "providers": [chunk.provider for chunk in of_step.values()],
    }


def keys_of(chunks: Sequence[Chunk]) -> list[Key]:
    """The company and step of each row."""
    return [(company_id, chunk.step_name) for chunk in chunks for company_id in chunk.company_ids]


def without_ended(chunk: Chunk, places: dict[Key, Place]) -> Chunk:
    """The chunk without the rows that are not to be worked."""
    stays = [places[i, chunk.step_name].ends is None for i in chunk.company_ids]
    if all(stays):
        return chunk
    lists = {
        name: [value for value, kept in zip(getattr(chunk, name), stays, strict=True) if kept]
        for name in ("company_ids", "batch_ids", "attempts")
    }
    return replace(chunk, **lists)  # type: ignore[arg-type]
