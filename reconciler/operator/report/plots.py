"""The plots of a report as Vega-Lite specifications: the data, and how it is drawn."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from reconciler.operator.report.figures import MOST_ATTEMPTS, SHARES, Report

Spec = dict[str, Any]
COLOURS = 8
FAILED = "FAILED"
OTHER = "other messages"
LEAST_S = 0.001  # the smallest duration on a logarithmic axis
# The ticks of such an axis: every other one is 1, 10 or 100 of a unit.
TICKS_S = (
    *(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
    *(60, 180, 600, 1800, 3600, 10_800, 36_000, 108_000, 360_000, 1_080_000, 3_600_000),
)
MOST_TICKS = 7
# Vega copies these into the SVG. So the page's style sets the colours, in light and in dark mode.
TEXT, FAINT, RED = "var(--text)", "var(--faint)", "var(--red)"
POINT = {"type": "point", "size": 120, "opacity": 1, "stroke": "var(--card)", "strokeWidth": 1}
COUNTS = {"tickCount": 4, "tickMinStep": 1, "format": ",d", "domain": False}  # of an axis
AMOUNTS = {"tickCount": 4, "format": ",.3~r", "domain": False}
# What became of the answers that a step needed, and the colour of each.
ANSWERS = {
    "bought, with a result": "var(--q0)",
    "bought, without one": "var(--q1)",
    "may have been charged": RED,
    "used again": "var(--soft)",
}
CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": FAINT,
        "gridColor": FAINT,
        "tickColor": FAINT,
        "labelColor": TEXT,
        "titleColor": TEXT,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titlePadding": 8,
    },
}
DURATION = (
    "datum.value < 1 ? format(datum.value * 1000, '~g') + ' ms' : datum.value < 60 ? "
    "format(datum.value, '~g') + ' s' : datum.value < 3600 ? format(datum.value / 60, '.3~g') + "
    "' min' : format(datum.value / 3600, '.3~g') + ' h'"
)


def colour(number: int) -> str:
    """The colour of a series, by its number; after `COLOURS` they repeat."""
    return f"var(--c{number % COLOURS})"


def message_of(row: dict[str, Any]) -> str:
    """The series of a row of failures: its step and message, or `OTHER`."""
    return OTHER if row["message"] is None else f"{row['step']}: {row['message']}"


def throughput(report: Report, steps: Sequence[str], since: datetime, until: datetime) -> Spec:
    """A plot of the company-steps done per span of time, with a colour per step."""
    rows = [(row["at"], row["step"], row["rows"]) for row in report.throughput]
    return _over_time(rows, report.width_s, steps, (since, until), "step")


def failures(report: Report, kinds: Sequence[str], since: datetime, until: datetime) -> Spec:
    """A plot of failed attempts per span of time, with a colour per message."""
    rows = [(row["at"], message_of(row), row["rows"]) for row in report.failures]
    return _over_time(rows, report.width_s, kinds, (since, until), "message")


def latency(report: Report, name: str) -> Spec:
    """A plot of quantiles per step on a logarithmic axis; `name` is `start_s` or `work_s`."""
    values = [
        {"step": row["step"], "share": share, "seconds": max(LEAST_S, took), "took": _took(took)}
        for row in report.latency
        for share, took in zip(SHARES, row[name] or [], strict=False)
    ]
    steps = [row["step"] for row in report.latency]
    y = _channel("step", "nominal", labelLimit=130, ticks=False, domain=False, grid=True)
    y["sort"] = steps
    marks = ticks([value["seconds"] for value in values])
    x = _channel("seconds", "quantitative", labelExpr=DURATION, values=marks, labelOverlap=True)
    x["scale"] = {"type": "log", "nice": False, "domain": [marks[0], marks[-1]]}
    shades = [f"var(--q{number})" for number in range(len(SHARES))]
    fill = _fill("share", list(SHARES), shades)
    reach = {"x": {**x, "aggregate": "min"}, "x2": {"field": "seconds", "aggregate": "max"}}
    points = {"x": x, "fill": fill, "tooltip": _tooltip("step", "share", "took")}
    layers = [
        {"mark": {"type": "rule", "stroke": FAINT, "strokeWidth": 3}, "encoding": reach},
        {"mark": POINT, "encoding": points},
    ]
    made = _spec(values, 38 * max(1, len(steps)))
    return made | {"encoding": {"y": y}, "layer": layers}


def ticks(values_s: Sequence[float]) -> list[float]:
    """The ticks of a logarithmic axis, in seconds: they span all the values."""
    least, greatest = min(values_s, default=LEAST_S), max(values_s, default=1)
    for marks in (TICKS_S, TICKS_S[::2]):
        first = bisect_right(marks, least) - 1
        found = marks[first : bisect_left(marks, greatest, first + 1) + 1]
        if len(found) <= MOST_TICKS:
            break
    return list(found)


def attempts(report: Report, steps: Sequence[str]) -> Spec:
    """A plot of company-steps by their number of attempts; FAILED ones have their own colour."""
    values = [
        {
            "attempts": attempts_name(row["attempts"]),
            "series": FAILED if row["status"] == FAILED else row["step"],
            "step": row["step"],
            "rows": row["rows"],
            "n": len(steps) if row["status"] == FAILED else steps.index(row["step"]),
        }
        for row in report.attempts
    ]
    x = _channel("attempts", "ordinal", labelAngle=0) | {"title": "attempts"}
    y = _channel("rows", "quantitative", **COUNTS)
    y["aggregate"] = "sum"
    colours = [*(colour(number) for number, _ in enumerate(steps)), RED]
    bars: Spec = {"y": y, "fill": _fill("series", [*steps, FAILED], colours)}
    bars |= {
        "detail": {"field": "step"},
        "order": {"field": "n"},
        "tooltip": _tooltip("step", "series", "attempts"),
    }
    bars["tooltip"].append({"field": "rows", "aggregate": "sum", "title": "company-steps"})
    total = {"y": y, "text": {"field": "rows", "aggregate": "sum", "format": ","}}
    layers = [
        {"mark": {"type": "bar"}, "encoding": bars},
        {"mark": {"type": "text", "dy": -8, "fill": TEXT, "fontSize": 12}, "encoding": total},
    ]
    return _spec(values, 200) | {"encoding": {"x": x}, "layer": layers}


def charged(report: Report, steps: Sequence[str], since: datetime, until: datetime) -> Spec:
    """A plot of what was charged per span of time, with a colour per step."""
    rows = [(row["at"], row["step"], float(row["charged"])) for row in report.charged]
    ends = since, until
    return _over_time(rows, report.width_s, steps, ends, "step", "charged", AMOUNTS)


def answers(report: Report, steps: Sequence[str]) -> Spec:
    """A plot of the answers of each step: how many were bought, and how many used again."""
    values = [
        {"step": row["step"], "provider": row["provider"] or "", "what": what, "companies": n}
        for row in report.bought
        for what, n in zip(ANSWERS, answer_counts(row), strict=True)
        if n
    ]
    for value in values:
        value["n"] = list(ANSWERS).index(value["what"])
    y = _channel("step", "nominal", labelLimit=130, ticks=False, domain=False)
    y["sort"] = list(steps)
    x = _channel("companies", "quantitative", **COUNTS)
    x["aggregate"] = "sum"
    tooltip = _tooltip("step", "provider", "what")
    tooltip.append({"field": "companies", "aggregate": "sum", "title": "companies"})
    encoding = {
        **{"x": x, "y": y, "fill": _fill("what", list(ANSWERS), list(ANSWERS.values()))},
        **{"order": {"field": "n"}, "tooltip": tooltip},
    }
    height = 38 * max(1, len({row["step"] for row in report.bought}))
    return _spec(values, height) | {"mark": {"type": "bar"}, "encoding": encoding}


def answer_counts(row: dict[str, Any]) -> list[int]:
    """The numbers of a row of `bought`, in the order of `ANSWERS`."""
    without = row["bought"] - row["hits"] - row["unknown"]
    return [max(0, n) for n in (row["hits"], without, row["unknown"], row["reused"])]


def attempts_name(number: int) -> str:
    """A number of attempts; the last one also stands for more: `8+`."""
    return f"{number}+" if number >= MOST_ATTEMPTS else str(number)


def _over_time(
    rows: Iterable[tuple[datetime, str, float]],
    width_s: int,
    series: Sequence[str],
    ends: tuple[datetime, datetime],
    title: str,
    counted: str = "rows",
    axis: Spec = COUNTS,
) -> Spec:
    """Stacked bars, each as wide as its span of time.

    They are stacked here, because Vega-Lite does not stack bars that have a start and an end.
    """
    place = {name: number for number, name in enumerate(series)}
    values, tops = list[Spec](), dict[datetime, float]()
    for at, name, count in sorted(rows, key=lambda row: (row[0], place[row[1]])):
        low = tops.get(at, 0)
        tops[at] = low + count
        start = at.timestamp() * 1000
        span = {"at": start, "until": start + width_s * 1000, "low": low, "high": tops[at]}
        values.append({**span, title: name, counted: count, "n": place[name]})
    first = min([ends[0].timestamp() * 1000, *(value["at"] for value in values)])
    last = max([ends[1].timestamp() * 1000, *(value["until"] for value in values)])
    nothing = {"low": 0, "high": 0, title: "", counted: 0, "n": 0}
    values += [{**nothing, "at": end, "until": end} for end in (first, last)]  # the axis's ends
    form = "%H:%M:%S" if last - first < 600_000 else "%H:%M" if last - first < 2e8 else "%b %d"
    x = _channel("at", "temporal", format=form, tickCount=5, grid=False, labelOverlap=True)
    x["scale"] = {"type": "utc"}
    y = _channel("low", "quantitative", **axis)
    fill = _fill("n", list(place.values()), [colour(number) for number in place.values()])
    when = {"field": "at", "type": "temporal", "timeUnit": "utcyearmonthdatehoursminutesseconds"}
    when |= {"title": "from (UTC)", "format": "%Y-%m-%d %H:%M:%S"}
    encoding = {
        **{"x": x, "x2": {"field": "until"}, "y": y, "y2": {"field": "high"}, "fill": fill},
        "tooltip": [when, *_tooltip(title, counted)],
    }
    mark = {"type": "rect", "stroke": "var(--card)", "strokeWidth": 0.5}
    return _spec(values, 220) | {"mark": mark, "encoding": encoding}


def _channel(field: str, kind: str, **axis: Any) -> Spec:
    return {"field": field, "type": kind, "title": None, "axis": axis}


def _fill(field: str, domain: Sequence[Any], colours: Sequence[str]) -> Spec:
    scale = {"domain": list(domain), "range": list(colours)}
    return {"field": field, "type": "nominal", "legend": None, "scale": scale}


def _tooltip(*fields: str) -> list[Spec]:
    return [{"field": field, "title": field} for field in fields]


def _took(seconds: float) -> str:
    return f"{seconds:.3g} s"


def _spec(values: list[Spec], height: Any) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": height,
        "config": CONFIG,
        "data": {"values": values},
    }
