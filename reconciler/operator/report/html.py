"""A report as one HTML file: scripts, style and data are inside, and it loads nothing else."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from html import escape
from typing import Any

from reconciler.contract.progress import done
from reconciler.contract.states import Status
from reconciler.operator.batch import BatchView
from reconciler.operator.money.amounts import shown
from reconciler.operator.report import plots
from reconciler.operator.report.figures import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    MOST_ATTEMPTS,
    SHARES,
    Report,
)
from reconciler.operator.report.style import DRAW, STYLE
from reconciler.operator.seeding.route import written
from reconciler.operator.wording import rate_text, seconds

MARK = '<meta name="generator" content="tracer report">'
# The browser runs only the script with this hash: text in the page is never run as a script.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'"
Cells = Sequence[Any]
Number = int | Decimal


def render_report(batch: BatchView, steps: Sequence[dict[str, Any]], report: Report) -> str:
    """The text of the HTML file; `steps` has the batch's number of rows per step and status."""
    until = batch.finished_at or batch.now
    kinds = message_counts(report)
    drawn: dict[str, plots.Spec] = {}
    if report.throughput:
        ends = (batch.created_at, until)
        drawn["throughput"] = plots.throughput(report, batch.steps, *ends)
    if report.latency:
        drawn |= {name: plots.latency(report, name) for name in ("start_s", "work_s")}
    if report.failures:
        drawn["failures"] = plots.failures(report, list(kinds), batch.created_at, until)
    if report.attempts:
        drawn["attempts"] = plots.attempts(report, batch.steps)
    if report.charged:
        drawn["charged"] = plots.charged(report, batch.steps, batch.created_at, until)
    if report.bought:
        drawn["answers"] = plots.answers(report, batch.steps)
    body = "".join(
        [
            *_head(batch, steps, until),
            *_throughput(batch, report),
            *_latency(report),
            *_failures(report, kinds),
            *_attempts(batch, report),
            *_spend(batch, report),
        ]
    )
    script = drawing() if drawn else ""
    return _document(batch.name, body, script, drawn)


def message_counts(report: Report) -> dict[str, int]:
    """The number of failed attempts by message: the most frequent first, `OTHER` last."""
    counts: dict[str, int] = {}
    for row in report.failures:
        name = plots.message_of(row)
        counts[name] = counts.get(name, 0) + row["rows"]
    return dict(sorted(counts.items(), key=lambda one: (one[0] == plots.OTHER, -one[1], one[0])))


def _document(name: str, body: str, script: str, drawn: dict[str, plots.Spec]) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = escape(POLICY.format(hash=digest))
    data = json.dumps(drawn, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{MARK}'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{STYLE}</style></head><body>{body}"
        f'<script type="application/json" id="plots">{data}</script>'
        f'<script type="module">{script}</script></body></html>\n'
    )


@cache
def drawing() -> str:
    """The plotting library with the code that draws the plots, as the text of a script element.

    It takes about 3 s to make. `</script` and `<!--` in it are escaped: they would end the element.
    """
    import vl_convert

    made: str = vl_convert.javascript_bundle(DRAW)
    return made.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _head(batch: BatchView, steps: Sequence[dict[str, Any]], until: datetime) -> Iterator[str]:
    took_s = max((until - batch.created_at).total_seconds(), 0.001)
    all_done = sum(map(done, steps))
    ended = {status: sum(step[status] for step in steps) for status in Status}
    without = {"not found": ended[Status.NOT_FOUND], "skipped": ended[Status.SKIPPED]}
    figures = {
        "companies": f"{batch.companies:,}",
        "done": f"{done(steps[-1]) + steps[-1]['not_asked']:,}",
        **{name: f"{rows:,}" for name, rows in without.items() if rows},
        "failed": f"{ended[Status.FAILED]:,}",
        "duration" if batch.finished_at else "duration so far": took(took_s),
        "company-steps done": f"{all_done:,}",
        "of these per second": f"{all_done / took_s:,.3g}",
    }
    paused = " (paused)" if batch.paused and not batch.finished_at else ""
    yield f"<h1>{escape(batch.name)}</h1>"
    yield f"<p>{batch.status}{paused} · {escape(written(batch.blueprint).replace(',', ' → '))}</p>"
    yield f"<p>Seeded {moment(batch.created_at)} · as of {moment(batch.now)} UTC</p>"
    pairs = (f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    yield f"<dl>{''.join(pairs)}</dl>"
    names = (status.replace("_", " ").lower() for status in Status)
    rows = [[step["step"], *(step[status] for status in Status), *_hits(step)] for step in steps]
    counts = _table(["step", *names, "not asked", "hit rate", "per hit"], rows)
    yield f"<section><h2>Steps</h2>{counts}</section>"


def _throughput(batch: BatchView, report: Report) -> Iterator[str]:
    yield f"<section><h2>Throughput</h2><p>Company-steps done per {span(report.width_s)}</p>"
    if report.throughput:
        yield _plot("throughput")
        steps = list(batch.steps)
        yield _legend((step, plots.colour(number)) for number, step in enumerate(steps))
        rows = [(row["at"], row["step"], row["rows"]) for row in report.throughput]
        yield _details(_over_time(rows, steps))
    else:
        yield "<p>No company-step is done yet.</p>"
    yield "</section>"


def _latency(report: Report) -> Iterator[str]:
    if not report.latency:
        return
    yield "<section><h2>Latency per step</h2><p>Of those COMPLETED or NOT_FOUND</p>"
    yield '<div class="pair"><div><h3>From claim to begin</h3>' + _plot("start_s") + "</div>"
    yield "<div><h3>From begin to end</h3>" + _plot("work_s") + "</div></div>"
    yield _legend((share, f"var(--q{number})") for number, share in enumerate(SHARES))
    columns = ["step", *(f"{kind} {share}" for kind in ("begin", "work") for share in SHARES)]
    rows = [
        [row["step"], *map(took, [*(row["start_s"] or []), *(row["work_s"] or [])]), row["rows"]]
        for row in report.latency
    ]
    yield _details(_table([*columns, "company-steps"], rows))
    yield "</section>"


def _failures(report: Report, kinds: dict[str, int]) -> Iterator[str]:
    yield f"<section><h2>Failures</h2><p>Attempts that failed per {span(report.width_s)}</p>"
    if report.failures:
        yield _plot("failures")
        named = (
            (f"{kind}: {count:,}", number) for number, (kind, count) in enumerate(kinds.items())
        )
        yield _legend((text, plots.colour(number)) for text, number in named)
        rows = [(row["at"], plots.message_of(row), row["rows"]) for row in report.failures]
        yield _details(_over_time(rows, list(kinds)))
    else:
        yield "<p>No attempt has failed.</p>"
    yield "</section>"


def _attempts(batch: BatchView, report: Report) -> Iterator[str]:
    if not report.attempts:
        return
    yield "<section><h2>Attempts</h2><p>How many a company-step took until it ended</p>"
    yield _plot("attempts")
    colours = [(step, plots.colour(number)) for number, step in enumerate(batch.steps)]
    if any(row["status"] == plots.FAILED for row in report.attempts):
        colours.append((plots.FAILED, plots.RED))
    yield _legend(colours)
    numbers = range(1, MOST_ATTEMPTS + 1)
    counted: dict[tuple[str, str], dict[int, int]] = {}
    for row in report.attempts:
        counted.setdefault((row["step"], row["status"]), {})[row["attempts"]] = row["rows"]
    rows = [[*kind, *(found.get(n, 0) for n in numbers)] for kind, found in counted.items()]
    yield _details(_table(["step", "", *map(plots.attempts_name, numbers)], rows))
    yield "</section>"


def _spend(batch: BatchView, report: Report) -> Iterator[str]:
    if not report.bought:
        return
    total = sum((row["charged"] for row in report.bought), Decimal(0))
    yield f"<section><h2>Spend</h2><p>Charged: {shown(total)}</p>"
    if report.charged:
        rows = [(row["at"], row["step"], row["charged"]) for row in report.charged]
        paid = {step for _, step, _ in rows}
        colours = {s: plots.colour(n) for n, s in enumerate(batch.steps) if s in paid}
        yield f"<h3>Charged per {span(report.width_s)}</h3>" + _plot("charged")
        yield _legend(colours.items())
        yield _details(_over_time(rows, list(colours)))
    yield "<h3>Answers that were bought, and that were used again</h3>" + _plot("answers")
    yield _legend(plots.ANSWERS.items())
    columns = ["step", "provider", *plots.ANSWERS, "charged"]
    cells = [
        [row["step"], row["provider"] or "", *plots.answer_counts(row), row["charged"]]
        for row in report.bought
    ]
    yield _details(_table(columns, cells)) + "</section>"


def _over_time(rows: Iterable[tuple[datetime, str, Number]], series: Sequence[str]) -> str:
    """A table with a row per span of time and a column per series."""
    counted: dict[datetime, dict[str, Number]] = {}
    for at, name, count in rows:
        counted.setdefault(at, {})[name] = count
    lines = [
        [moment(at), *(found.get(name, 0) for name in series)] for at, found in counted.items()
    ]
    return _table(["from (UTC)", *series], lines)


def _plot(name: str) -> str:
    return f'<div class="plot" id="{name}"></div>'


def _legend(series: Iterable[tuple[str, str]]) -> str:
    marks = (f'<li style="--mark:{colour}">{escape(text)}</li>' for text, colour in series)
    return f"<ul>{''.join(marks)}</ul>"


def _details(table: str) -> str:
    return f"<details><summary>All figures</summary>{table}</details>"


def _hits(step: dict[str, Any]) -> Cells:
    """How many a step was spared, the share of hits, and what one has cost."""
    return step["not_asked"], rate_text(step["hit_rate"]), shown(step["per_hit"])


def _table(columns: Sequence[str], rows: Iterable[Cells]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, Decimal):
        return shown(value)
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def moment(value: datetime) -> str:
    """A moment in UTC, to the second."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def took(value_s: float) -> str:
    """A duration to three digits."""
    return seconds(float(f"{value_s:.3g}") if value_s < 120 else value_s)


def span(width_s: int) -> str:
    """The length of a bar's span, and the clock of the axis: `10 minutes, times in UTC`."""
    units = ((DAY_S, "day"), (HOUR_S, "hour"), (MINUTE_S, "minute"), (1, "second"))
    size, name = next(unit for unit in units if width_s >= unit[0])
    count = width_s // size
    return f"{name if count == 1 else f'{count} {name}s'}, times in UTC"
