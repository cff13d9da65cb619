"""Writes times, durations, counts and names for people."""

from datetime import datetime, timedelta
from shlex import quote


def clock(moment: datetime, now: datetime) -> str:
    """The local time of day, with the date if that is not today."""
    local = moment.astimezone()
    today = local.date() == now.astimezone().date()
    return f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M:%S}"


def span(length: timedelta) -> str:
    """A duration: `0.4 s`, `42 s`, `3 min 20 s`, `42 min`, `2 h 05 min`, `3 days`."""
    seconds = max(0.0, length.total_seconds())
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 1 else f"{int(seconds)} s"
    minutes = int(seconds // 60)
    if minutes < 10:
        return f"{minutes} min {int(seconds % 60):02} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} days"


def until(moment: datetime, now: datetime) -> str:
    """A future time: `12:04:31 (in 42 s)`."""
    return f"{clock(moment, now)} (in {span(moment - now)})"


def since(moment: datetime, now: datetime) -> str:
    """A past time: `12:03:07 (42 s ago)`."""
    return f"{clock(moment, now)} ({span(now - moment)} ago)"


def when(moment: datetime, now: datetime) -> str:
    """A past or future time: see `since` and `until`."""
    return since(moment, now) if moment <= now else until(moment, now)


def plural(number: int, one: str, more: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {one if number == 1 else more}"


def rate_text(share: float | None) -> str:
    """A share as a percentage; nothing for None."""
    return "" if share is None else f"{100 * share:.0f}%"


def counted(rows: int, limit: int) -> str:
    """A number of rows, `more than …` if the count stopped at `limit`."""
    return f"more than {limit - 1:,} rows" if rows >= limit else plural(rows, "row", "rows")


def operand(*names: str) -> str:
    """Arguments quoted for a shell; after `--` if one looks like an option."""
    options_end = ["--"] if any(name.startswith("-") for name in names) else []
    return " ".join([*options_end, *map(quote, names)])


def seconds(value: float | None) -> str:
    """A duration for people: `0.5 s`, `42 s`, `2 min`, `1 h 05 min`; `?` for None."""
    if value is None:
        return "?"
    if value < 120:
        return f"{value:g} s" if value < 10 else f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
