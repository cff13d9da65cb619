"""Caps of spend as people name them: what each scope may cost, and what of it is left."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from shlex import quote

from reconciler.contract.caps import ALL, ALWAYS, batch_scope, client_scope, provider_scope
from reconciler.contract.database import Connection, Row
from reconciler.contract.errors import BadInput, did_you_mean
from reconciler.contract.sql.claim import CLAIM_TURN
from reconciler.contract.states import Status
from reconciler.operator.batch import BatchView
from reconciler.operator.history import Line
from reconciler.operator.money.amounts import digits, read_amount, shown
from reconciler.operator.money.clients import read_client
from reconciler.operator.sql import money as queries
from reconciler.operator.sql import steering
from reconciler.operator.store import OperatorStore

NO_LIMIT = ("none", "off")
CAP = "A cap"
PERIODS = ("day", "month")
USAGE = "write all, batch:NAME, client:NAME, provider:NAME/day or provider:NAME/month"


@dataclass(frozen=True)
class Target:
    """What a cap is for: its scope in the table `caps`; the batch or the client, if it is one."""

    scope: str
    per: str | None = None
    batch: BatchView | None = None
    client: str | None = None

    @property
    def name(self) -> str:
        """The scope as people write it."""
        return self.scope if self.batch is None else f"batch:{self.batch.name}"

    def since(self, today: date) -> date:
        """The first day of the period that runs."""
        return {"day": today, "month": today.replace(day=1)}.get(self.per or "", ALWAYS)


def read_caps(store: OperatorStore) -> list[Row]:
    """What each scope may cost now, and what of it is used.

    `scope`, `per` ("day", "month" or None), `since` (the first day of its period, in UTC), `limit`
    and `left` (None without a limit), `spent`, `reserved`, `beyond`. Batches that have ended are
    left out where they have no limit.
    """
    return [as_cap(row) for row in store.rows(queries.CAPS_SHOWN)]


def as_cap(row: Row) -> Row:
    """A row of `CAPS_NOW`, with the names that people know."""
    of_batch, per = row["batch"] is not None, row["scope"].rpartition("/")[2]
    return {
        "scope": f"batch:{row['batch']}" if of_batch else row["scope"],
        "per": per if per in PERIODS and not of_batch else None,
        "since": None if row["since"] == ALWAYS else row["since"],
        "limit": row["most"],
        "spent": row["spent"],
        "reserved": row["reserved"],
        "beyond": row["beyond"],
        "left": None if row["most"] is None else row["most"] - used(row),
    }


def read_limit(given: str, per: str | None) -> tuple[Decimal | None, str | None]:
    """The limit and the period of `500`, `500/day`, `none`; `per` is one that is known already.

    Raises:
        BadInput: it is neither an amount nor `none`, or it has another period.
    """
    text, slash, named = given.partition("/")
    if slash and (named not in PERIODS or per not in (None, named)):
        raise BadInput(f"{given!r} is not a limit: write 500, 500/day, 500/month or none.")
    limit = None if text in NO_LIMIT else read_amount(text, CAP)
    return limit, named or per


def read_target(store: OperatorStore, scope: str, per: str | None) -> Target:
    """What `scope` names; `per` is the period that the limit has said.

    Raises:
        BadInput: it names nothing that there is; the message says what was meant.
    """
    kind, colon, name = scope.partition(":")
    if kind == "provider" and name:
        return _provider(store, name, per)
    if per is not None:
        raise BadInput(f"Only a provider's cap has a period: write {scope} without /{per}.")
    if scope == ALL:
        return Target(ALL)
    if kind == "batch" and name:
        batch = store.batch(name)
        return Target(batch_scope(batch.id), batch=batch)
    if kind == "client" and colon:
        return Target(client_scope(read_client(name)), client=name)
    raise BadInput(f"{scope!r} is nothing that has a cap: {USAGE}.")


def period_in(scope: str) -> tuple[str, str | None]:
    """`provider:NAME/day` without its period, and the period; other scopes have none."""
    name, slash, per = scope.rpartition("/")
    return (
        (name, per) if slash and per in PERIODS and scope.startswith("provider:") else (scope, None)
    )


def _provider(store: OperatorStore, name: str, per: str | None) -> Target:
    names = [row["name"] for row in store.rows(queries.PROVIDER_NAMES)]
    if name not in names:
        raise no_provider(name, names)
    if per is None:
        raise BadInput(
            f"A provider's cap has a period. To limit a month or a day of {name}, write the limit "
            "as 10000/month or 500/day."
        )
    return Target(provider_scope(name, per), per)


def no_provider(name: str, names: list[str]) -> BadInput:
    """The error for an unknown provider; it names a similar one, or all."""
    known = f" There are: {', '.join(names)}." if names else " No registered step names one."
    return BadInput(f"There is no provider {name!r}.{did_you_mean(name, names) or known}")


def set_cap(store: OperatorStore, target: Target, most: Decimal | None) -> Row:
    """Set what the scope may cost, from the next claim on; None lifts the limit.

    Of a provider's day or month, this is the limit of the period that runs and of all later ones.
    Returns the cap as `read_caps` does, with the limit `before`.

    Raises:
        BadInput: more is reserved and spent already.
    """
    with store.transaction() as connection:
        connection.execute(CLAIM_TURN)  # so that no claim reserves at the same time
        before = _cap(connection, target)
        if most is not None and most < used(before):
            raise _too_low(target, before)
        if most is None:
            connection.execute(queries.DROP_CAP, {"scope": target.scope})
        else:
            since = target.since(_today(connection))
            values = {"scope": target.scope, "since": since, "most": most}
            connection.execute(queries.SET_CAP, values)
        if target.batch is not None and before["limit"] != most:
            _note(connection, store.who, target.batch, before["limit"], most)
        after = _cap(connection, target)
    return after | {"before": before["limit"]}


def _cap(connection: Connection, target: Target) -> Row:
    """The cap as it is now; of a scope that nothing has counted against yet, an empty one."""
    found = connection.execute(queries.CAPS_OF, {"scopes": [target.scope]}).fetchone()
    nothing = dict.fromkeys(("reserved", "spent", "beyond"), Decimal(0))
    since = target.since(_today(connection))
    name = target.batch.name if target.batch else None
    empty = {"scope": target.scope, "batch": name, "since": since, "most": None, **nothing}
    return as_cap(found or empty)


def used(cap: Row) -> Decimal:
    """What of a cap has gone, or may yet; what was charged above the prices counts too."""
    return Decimal(cap["reserved"] + cap["spent"] + cap["beyond"])


def _today(connection: Connection) -> date:
    today: date = connection.execute(queries.TODAY).fetchall()[0]["today"]
    return today


def _too_low(target: Target, cap: Row) -> BadInput:
    per = f"/{target.per}" if target.per else ""
    lowest = digits(used(cap))
    scope = target.scope.rpartition("/")[0] if target.per else target.name
    return BadInput(
        f"{target.name}: {shown(cap['spent'] + cap['beyond'])} is spent and "
        f"{shown(cap['reserved'])} reserved already. The lowest limit is {lowest}",
        f"tracer caps set {quote(scope)} {lowest}{per}",
    )


def _note(
    connection: Connection, who: str, batch: BatchView, before: Decimal | None, most: Decimal | None
) -> None:
    """A line in the batch's history; its number is that of the rows that were PENDING."""
    counts = connection.execute(steering.UNFINISHED, {"batch_id": batch.id}).fetchall()
    pending = sum(row["rows"] for row in counts if row["status"] == Status.PENDING)
    said = {name: limit_text(limit) for name, limit in (("from", before), ("to", most))}
    Line(batch.id, who, "caps set", said).add(connection, pending)


def limit_text(limit: Decimal | None) -> str:
    """A limit as it is typed."""
    return "none" if limit is None else digits(limit)
