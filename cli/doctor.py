"""`tracer doctor`: every part that Tracer talks to, and how to fix what is wrong with it."""

from collections.abc import Sequence
from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from cli.render import AsJson, document, out, say, text
from reconciler.contract.errors import TracerError
from reconciler.contract.results import StepResult
from reconciler.contract.settings import load_settings
from reconciler.operator.diagnosis import database_checks
from reconciler.operator.diagnosis.doctor import Check, Finding, examine
from reconciler.operator.diagnosis.loop_checks import Loop
from workers.runtime.loading import load_steps

# What each part is for: why a fault in it matters.
WHY = {
    "settings": "Every command, the loop and the workers read them.",
    "database": "Postgres alone remembers: without it nothing is claimed, and no result is kept.",
    "schema": "Neither a tick nor a worker touches a schema that it does not know.",
    "role": "What lacks a grant ends with an error instead of doing its work.",
    "steps": "A step that is not registered cannot be seeded, and is never claimed.",
    "tables": "A result and COMPLETED are one transaction: without its table every attempt fails.",
    "batches": "Its rows stay PENDING until someone does something about it.",
    "loop": "Only a tick claims, retries and advances rows.",
    "prefect": "A loop leaves at the end of its window: nobody starts the next one.",
    "window": "Nothing ticks between the end of one run and the start of the next.",
    "workers": "What a tick claims is refused, and goes back to wait.",
    "modal": "What a tick claims cannot be spawned, and goes back to wait.",
    "app": "What a tick claims has no worker, and goes back to wait.",
    "functions": "A call of a function that is not there is refused, and its rows wait.",
}
# What cannot be looked at, and would only repeat the same words, where another part is not well.
NEEDS = {
    "database": ("settings",),
    "schema": ("database",),
    "role": ("schema",),
    "steps": ("role",),
    "tables": ("steps",),
    "batches": ("role",),
    "loop": ("role",),
    "prefect": ("settings",),
    "window": ("loop", "prefect"),
    "workers": ("settings",),
    "modal": ("settings",),
    "app": ("role", "modal"),
    "functions": ("app",),
}


def doctor(as_json: AsJson = False) -> None:
    """Check every part; exit code 1 when one needs fixing, 0 when the next tick does its work."""
    findings: list[Finding] = []
    parts = checks(findings)
    for part, check in parts.items():
        well = {finding.part for finding in findings if finding.ok}
        if well >= set(NEEDS.get(part, ())):
            findings.append(examine(part, check, WHY[part]))
    faults = sum(not finding.ok for finding in findings)
    if as_json:
        document([asdict(finding) for finding in findings])
    else:
        out.print(as_table(findings))
        left = sorted(parts.keys() - {finding.part for finding in findings})
        more = f" Not looked at before that: {', '.join(left)}." if left else ""
        need = "1 part needs" if faults == 1 else f"{faults} parts need"
        say(f"{need} fixing.{more}" if faults else "All is well: the next tick does its work.")
    if faults:
        raise typer.Exit(1)


def as_table(findings: list[Finding]) -> Table:
    """A line for each part, and under a fault why it matters and what fixes it."""
    made = Table(box=None, header_style="bold")
    for name in ("part", ""):
        made.add_column(name, no_wrap=True)
    made.add_column("says", overflow="fold")
    for finding in findings:
        mark = Text("ok", "green") if finding.ok else Text("FIX", "bold red")
        made.add_row(text(finding.part), mark, text(finding.says))
        if not finding.ok:
            made.add_row("", "", text(finding.why))
        if finding.fix:
            made.add_row("", "", Text(f"$ {finding.fix}", "bold"))
    return made


def checks(findings: Sequence[Finding]) -> dict[str, Check]:
    """What there is to look at, in an order in which the first fault is the cause of others;
    `findings` grows meanwhile."""
    loop = Loop(findings, tables, say)
    common = database_checks.checks(tables) | loop.checks()
    try:
        on_modal = load_settings().workers == "modal"
    except TracerError:
        on_modal = False  # the settings' own check says what is wrong
    if not on_modal:
        return common | {"workers": loop.workers}
    # Modal's client takes 0.7 s to import.
    from reconciler.operator.diagnosis.modal_checks import CHECKS

    return common | CHECKS


def tables() -> dict[str, type[StepResult]]:
    """The steps whose code is here, and their tables."""
    return {name: step.table for name, step in load_steps().items()}
