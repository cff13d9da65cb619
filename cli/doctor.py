"""`tracer doctor`: check every part that Tracer needs, and name the fix of each fault."""

from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from cli.render import AsJson, document, out, say, text
from reconciler.contract.results import StepResult
from reconciler.operator.diagnosis.doctor import Finding, examine_parts
from reconciler.operator.wording import plural
from workers.runtime.loading import load_steps


def doctor(as_json: AsJson = False) -> None:
    """Check every part that Tracer needs, and name the fixes; exit code 1 if one needs fixing."""
    findings, skipped = examine_parts(tables, say)
    faults = sum(not finding.ok for finding in findings)
    if as_json:
        document([asdict(finding) for finding in findings])
    else:
        out.print(as_table(findings))
        more = f" Not checked until that is fixed: {', '.join(skipped)}." if skipped else ""
        need = plural(faults, "part needs", "parts need")
        say(f"{need} fixing.{more}" if faults else "All is well: the next tick does its work.")
    if faults:
        raise typer.Exit(1)


def tables() -> dict[str, type[StepResult]]:
    """The steps whose code is here, with their domain tables."""
    return {name: step.table for name, step in load_steps().items()}


def as_table(findings: list[Finding]) -> Table:
    """A line for each part; under a fault, why it matters and the command that fixes it."""
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
