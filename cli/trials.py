"""What `tracer try` shows of a step: result, time, calls and their cost, and where it failed."""

import json
import traceback
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.text import Text

from cli.render import out, say, table
from reconciler.contract.results import StepResult, own_fields
from reconciler.contract.secrets import masked_values, redacted
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator.wording import plural
from workers.kit import Step
from workers.runtime.trial import Trial
from workers.runtime.trial_store import PaidCall

HERE = Path(__file__).parents[1]
PACKAGES = ("cli", "reconciler", "workers")
STEPS = ("steps", "sample", "noop")  # the packages in `workers` that have steps
NOTHING = "Nothing was written."
LONGEST = 500  # characters of a text that a person is shown


def status(trial: Trial) -> Status:
    """How the row would have ended, at its last attempt."""
    if isinstance(trial.outcome, StepResult):
        return Status.COMPLETED
    return trial.outcome.ends or Status.FAILED


def cost(trial: Trial, step: Step) -> float | None:
    """What a trial has cost, None where nobody knows.

    The calls of a step without `paid` are not seen: its result says whether the price was paid.
    """
    charges = [call.charged for call in trial.calls]
    if None in charges:
        return None
    total = sum((charge or Decimal(0) for charge in charges), Decimal(0))
    if step.buying and step.buying.by_result and trial.took_s is not None:
        found = status(trial) == Status.COMPLETED
        missed = status(trial) == Status.NOT_FOUND and not step.terms.bills_hits_only
        total += step.terms.price if found or missed else 0
    return float(total)


def call_shown(call: PaidCall) -> dict[str, Any]:
    """One call of `--json`."""
    charged = None if call.charged is None else float(call.charged)
    about = {"step": call.step, "request": dict(call.request), "status": call.status}
    return {**about, "charged": charged}


def shown(trial: Trial, step: Step) -> dict[str, Any]:
    """One company of `--json`."""
    result = trial.outcome if isinstance(trial.outcome, StepResult) else None
    failure = trial.outcome if isinstance(trial.outcome, Failure) else None
    return {
        "company": trial.company.key,
        "status": status(trial),
        "result": values(result) if result else None,
        "error": redacted(failure.error) if failure and failure.error else None,
        "error_kind": failure.kind if failure and failure.error else None,
        "took_s": trial.took_s,
        "ran_first": trial.ran_first,
        "calls": [call_shown(call) for call in trial.calls],
        "cost": cost(trial, step),
        "answers_kept": trial.kept,
        "traceback": [redacted(line) for line in own_lines(trial.raised)],
    }


def values(result: StepResult) -> dict[str, Any]:
    """The fields of a result, as they would be written."""
    written: dict[str, Any] = masked_values(json.loads(result.model_dump_json()))
    return {name: written[name] for name in own_fields(type(result))}


def print_trials(step: Step, trials: Sequence[dict[str, Any]]) -> None:
    """A row per company, as `shown` has it; then what went wrong, with the step's own lines."""
    fields = own_fields(step.table)
    rows = []
    pays = ["#calls", "#cost"] if any(found["calls"] or found["cost"] for found in trials) else []
    for found in trials:
        took = "" if found["took_s"] is None else f"{found['took_s']:.2f} s"
        cells = [as_cell((found["result"] or {}).get(name)) for name in fields]
        paid = [len(found["calls"]), "?" if found["cost"] is None else found["cost"]]
        rows.append([found["company"], found["status"], took, *paid[: len(pays)], *cells])
    out.print(table(["company", "status", "#took", *pays, *fields], rows))
    for found in trials:
        for call in found["calls"]:
            say(f"{found['company']}: {sentence(call)}")
    for found in trials:
        if found["ran_first"]:
            say(f"{found['company']}: {', '.join(found['ran_first'])} ran first.")
        if found["error"]:
            out.print(Text(f"\n{found['company']}: {shorten(found['error'])}"))
        for line in found["traceback"]:
            out.print(Text(f"    {line}"), soft_wrap=True)
    if pays:
        costs = [found["cost"] for found in trials]
        total = sum(one or 0 for one in costs)
        more = ", and what the calls without an answer have cost" if None in costs else ""
        say(f"It has cost {total:g}{more}.")
    if lost := [f["company"] for f in trials if f["calls"] and not f["answers_kept"]]:
        number = plural(len(lost), "company", "companies")
        say(f"The answers for {number} are not kept, and a batch buys them again: seed first.")
    kept = [found for found in trials if found["answers_kept"]]
    if used := sum(not found["calls"] and found["status"] != Status.FAILED for found in kept):
        say(f"A kept answer was used for {plural(used, 'company', 'companies')}: no call was made.")
    say("Nothing was written but the answers that were paid for." if kept else NOTHING)


def sentence(call: dict[str, Any]) -> str:
    """One paid call, for a person."""
    asked = call["request"]
    what = " ".join(str(asked[name]) for name in ("method", "url", "call") if name in asked)
    given = [asked[name] for name in ("params", "json", "data", "request") if name in asked]
    what += "".join(f" {shorten(json.dumps(one, ensure_ascii=False))}" for one in given)
    if call["status"] is None:
        return f"{call['step']} has sent a call, and no answer came: it may have been charged."
    return f"{what} -> {call['status']}, cost {call['charged']:g}"


def as_cell(value: Any) -> Any:
    """A value for a table's cell."""
    text = json.dumps(value) if isinstance(value, dict | list) else value
    return shorten(text) if isinstance(text, str) else text


def shorten(text: str) -> str:
    """A text for a person, without the rest of a web page: rich takes minutes for 5 MB."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def own_lines(error: BaseException | None) -> Iterator[str]:
    """Where the error was raised: the lines of the author's own files.

    Those of Tracer, of Python and of libraries are left out. Those of libraries are there if no
    other is: the step may have been installed as one.
    """
    found = traceback.extract_tb(error.__traceback__) if error else []
    frames = [frame for frame in found if not is_tracers(Path(frame.filename))]
    own = [frame for frame in frames if not is_library(Path(frame.filename))]
    for frame in own or frames:
        yield f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"


def is_tracers(file: Path) -> bool:
    """Whether a file is Tracer's, installed or not, and no step's."""
    if not file.is_relative_to(HERE):
        return False
    package, *rest = file.relative_to(HERE).parts
    return package in PACKAGES and not (package == "workers" and rest[0] in STEPS)


def is_library(file: Path) -> bool:
    """Whether a file is Python's, or of a package that is installed; a step of Tracer's is not."""
    installed = "site-packages" in file.parts and not file.is_relative_to(HERE / "workers")
    return installed or file.is_relative_to(Path(traceback.__file__).parent)
