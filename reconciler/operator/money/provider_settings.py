"""Sets a provider's limits, and pauses and resumes it; the next claim goes by that."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from reconciler.contract.database import Connection, Row
from reconciler.contract.durations import duration
from reconciler.contract.errors import BadInput, did_you_mean
from reconciler.contract.limits import (
    Window,
    documents,
    from_documents,
    read_windows,
    spacing_s,
    written,
)
from reconciler.operator.money.caps import no_provider
from reconciler.operator.sql import money as money_queries
from reconciler.operator.sql import providers as queries
from reconciler.operator.store import OperatorStore
from reconciler.provider_state import ProviderState, Standing, read_state

LONGEST_S = 315_360_000.0  # ten years
MOST = 1_000_000
NONE = "none"
USAGE = "write limit=5/s,1000/d, max_concurrent=50, burst=20 or keep_for=90d"


def read_settings(given: Sequence[str]) -> dict[str, Any]:
    """The settings of `limit=5/s,1000/d`, `max_concurrent=50` and so on, by their names.

    Raises:
        BadInput: one is no setting of a provider, has no such value, or is there twice.
    """
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or key not in READERS:
            near = did_you_mean(key, READERS)
            raise BadInput(f"{text!r} is not a setting of a provider: {USAGE}.{near}")
        if key in found:
            raise BadInput(f"{key} is there twice: write it once.")
        found[key] = READERS[key](value.strip())
    return found


def _read_max_concurrent(value: str) -> int | None:
    if value == NONE:
        return None
    return _whole("max_concurrent", value, "write none for no limit")


def _read_burst(value: str) -> int:
    return 1 if value == NONE else _whole("burst", value, "1 is no burst")


def _whole(key: str, value: str, hint: str) -> int:
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:10]) <= MOST):
        raise BadInput(f"{key} is a whole number from 1 to {MOST:,}, not {value!r}; {hint}.")
    return int(value)


def _read_keep_for(value: str) -> float | None:
    if value == NONE:
        return None
    seconds = duration(value)
    if seconds > LONGEST_S:
        raise BadInput("keep_for is ten years at most: write none to keep answers for ever.")
    return seconds


READERS: Mapping[str, Callable[[str], Any]] = {
    "limit": read_windows,
    "max_concurrent": _read_max_concurrent,
    "burst": _read_burst,
    "keep_for": _read_keep_for,
}


def set_provider(store: OperatorStore, name: str, settings: Mapping[str, Any]) -> Row:
    """Change these settings, of `read_settings`, and keep the others.

    Returns `provider`, all its settings as they are now, `learned_rate`, and `changed`: of each
    setting that has changed, its value `before` and `after`.

    Raises:
        BadInput: there is no such provider.
    """
    with store.transaction() as connection:
        before = _locked(connection, name)
        columns: dict[str, Any] = {}
        for key, value in settings.items():
            columns |= _limit_columns(value, before) if key == "limit" else {COLUMNS[key]: value}
        after = connection.execute(_set(columns), {**columns, "name": name}).fetchone() or {}
    was, now = shown_settings(before), shown_settings(after)
    changed = {key: {"before": was[key], "after": now[key]} for key in now if was[key] != now[key]}
    return {"provider": name, **now, "learned_rate": after["learned_rate"], "changed": changed}


COLUMNS = {"max_concurrent": "max_concurrent", "burst": "burst", "keep_for": "keep_for_s"}


def _set(columns: Mapping[str, Any]) -> sql.Composed:
    each = (sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder(c)) for c in columns)
    return sql.SQL(queries.SET).format(columns=sql.SQL(", ").join(each))


def _limit_columns(windows: Sequence[Window], before: Row) -> dict[str, Any]:
    """What a new limit changes: a learned rate that is slower than it stays, and grows from there.

    The long windows are counted anew by the next claim.
    """
    known, learned = spacing_s(windows), before["learned_rate"]
    slower = learned is not None and (known is None or learned * known < 1)
    return {
        "windows": Jsonb(
            documents(windows)
        ),  # an empty list: the code's own limit does not come back
        "spacing_s": 1 / learned if slower else known,
        "learned_rate": learned if slower else None,
        "ceiling": before["ceiling"] if slower else None,
        "calls_left": None,
        "full_until": None,
    }


def shown_settings(row: Row) -> Row:
    """The settings of a row of `providers`, as programs read them: `limit` as it is typed."""
    windows = from_documents(row["windows"])
    return {
        "limit": written(windows) if windows else None,
        "max_concurrent": row["max_concurrent"],
        "burst": row["burst"],
        "keep_for_s": row["keep_for_s"],
    }


def pause_provider(store: OperatorStore, name: str, why: str | None) -> Row:
    """Pause the provider until somebody resumes it; without `why`, the reason of a pause stays.

    Returns its state as `state_document` does, with the one `before`, and whether it has `changed`.

    Raises:
        BadInput: there is no such provider.
    """
    with store.transaction() as connection:
        before = _state(connection, name)
        said = why or (before.paused_why if before.standing is Standing.PAUSED else None)
        connection.execute(queries.PAUSE, {"name": name, "why": said})
        return _what_changed(before, _state(connection, name))


def resume_provider(store: OperatorStore, name: str) -> Row:
    """Let the provider be called again, whatever has paused it; see `pause_provider`.

    Raises:
        BadInput: there is no such provider.
    """
    with store.transaction() as connection:
        before = _state(connection, name)
        if before.standing is Standing.PAUSED or before.failures:
            connection.execute(queries.RESUME, {"name": name})
        return _what_changed(before, _state(connection, name))


def _what_changed(before: ProviderState, after: ProviderState) -> Row:
    was, now = state_document(before), state_document(after)
    return {"provider": after.name, **now, "before": was, "changed": was != now}


def state_document(state: ProviderState) -> Row:
    """A provider's state for programs; a pause that is over is none."""
    paused = state.standing is Standing.PAUSED
    full = state.standing is Standing.FULL
    ill = paused or state.standing is Standing.PROBING
    return {
        "state": str(state.standing),
        "paused_until": state.paused_until if paused else None,
        "until_resumed": state.until_resumed,
        "pause_kind": state.pause_kind if ill else None,
        "paused_why": state.paused_why if ill else None,
        "full_until": state.full_until if full else None,
        "failures": state.failures,
    }


def _state(connection: Connection, name: str) -> ProviderState:
    """The provider, which nobody else changes before the end of the transaction."""
    _locked(connection, name)
    found = read_state(connection, name)
    assert found is not None
    return found


def _locked(connection: Connection, name: str) -> Row:
    found = connection.execute(queries.LOCK, {"name": name}).fetchone()
    if not found:
        rows = connection.execute(money_queries.PROVIDER_NAMES)
        raise no_provider(name, [row["name"] for row in rows])
    return found
