"""`tracer interval tune`: measure, choose the intervals that a latency needs, and say why."""

import resource
import subprocess
import sys
from typing import Annotated

import typer

from cli.interval import duration, put
from cli.interval_tune_view import Study, as_document, show, unmet
from cli.render import AsJson, document, say
from reconciler.contract.errors import Unreachable, WorkFailed
from reconciler.contract.settings import load_settings
from reconciler.operator.connect import operator
from reconciler.operator.latency import EVERIES_S, Costs, choose, weigh
from reconciler.operator.store import OperatorStore
from reconciler.operator.tuning import idle_tick_s, read_pickups
from reconciler.prefect import schedule

FEWEST = 20  # rows: of fewer, a p95 is that of one or two


def tune(
    p95: Annotated[
        str | None,
        typer.Option(help="Target of the pick-up latency; else the one that was last applied."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Set what was chosen.")] = False,
    as_json: AsJson = False,
) -> None:
    """Choose the intervals that meet a p95 of the pick-up latency for the fewest CPU seconds.

    A pick-up is from the moment when a row could be claimed until its work begins. What it takes
    beside the wait for a tick is measured on the rows of the last hour.
    """
    with operator() as store:
        study = investigate(store, duration(p95) if p95 is not None else None)
        applied = apply and study.chosen is not None
        if applied and study.chosen:
            put(store, study.values(study.chosen))
    if as_json:
        document(as_document(study, applied))
    else:
        show(study)
    if study.chosen is None:
        raise WorkFailed(unmet(study))
    say("Set." if applied else "Nothing was set: `--apply` does.")


def investigate(store: OperatorStore, target_s: float | None) -> Study:
    """Measure and weigh.

    Raises:
        WorkFailed: hardly a row has begun lately.
    """
    pickups = read_pickups(store)
    if pickups.rows < FEWEST:
        raise WorkFailed(
            f"Too little to measure: of the rows that were looked at, {pickups.rows} have begun in "
            f"the last hour, and {FEWEST} are needed. Run a batch first: `tracer seed`."
        )
    polling, left = store.polling(), schedule_fault()
    costs = Costs(idle_tick_s(store), run_start_s())
    everies_s = [polling["every_s"]] if left else EVERIES_S
    candidates = weigh(pickups.overheads, costs, everies_s)
    target_s = target_s or polling["latency_target_s"]
    chosen = choose(candidates, target_s)
    return Study(target_s, polling, pickups, costs, left, candidates, chosen)


def schedule_fault() -> str | None:
    """Why Prefect's schedule cannot be set; None where it can."""
    try:
        found = schedule.read_schedule(load_settings())
    except Unreachable as error:
        return str(error)
    return None if found.deployed else schedule.NOT_DEPLOYED


def run_start_s() -> float:
    """CPU seconds of a Python that imports the flow: the least that the start of a run costs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = [sys.executable, "-c", "import reconciler.flow"]
    subprocess.run(program, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
