"""Writes the diagram and the table of a row's life into concepts.md, from TRANSITIONS.

`--check` writes nothing, and ends with 1 where the page differs.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from reconciler.contract.states import TERMINAL, TRANSITIONS, Status

PAGE = Path(__file__).parent / "concepts.md"
DIAGRAM = re.compile(r"(?<=```mermaid\n)stateDiagram-v2\n.*?(?=```)", re.DOTALL)
TABLE = re.compile(r"(?<=\n)\| verb \| from \|.*?\n(?=\n)", re.DOTALL)


def diagram() -> str:
    """The verbs as arrows between the states, in Mermaid; one that leaves a row where it is stands
    inside the state, since a loop's name is drawn over other arrows."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for t in TRANSITIONS:
        for source in t.sources or ("[*]",):
            for target in t.targets:
                arrows.setdefault((source, target), []).append(t.verb)
    lines = ["direction LR"]
    for (source, target), verbs in arrows.items():
        if source == target:
            lines += [f"{source}: {source}", f"{source}: {', '.join(verbs)}"]
        else:
            lines.append(f"{source} --> {target}: {', '.join(verbs)}")
    lines += [f"{status} --> [*]" for status in TERMINAL if status != Status.FAILED]
    return "\n    ".join(["stateDiagram-v2", *lines]) + "\n"


def table() -> str:
    """The verbs as lines of a Markdown table: from where to where, by whom, under which guard."""
    head = ["| verb | from | to | by | guard |", "|---|---|---|---|---|"]
    rows = [
        f"| {t.verb} | {names(t.sources)} | {names(t.targets)} | {t.who} | {t.guard} |"
        for t in TRANSITIONS
    ]
    return "\n".join([*head, *rows, ""])


def names(statuses: Iterable[Status]) -> str:
    """States in a cell of the table."""
    return ", ".join(statuses) or "(new)"


def generated(page: str) -> str:
    """`page` with the diagram and the table of today's TRANSITIONS."""
    with_diagram = DIAGRAM.sub(lambda _: diagram(), page)
    return TABLE.sub(lambda _: table(), with_diagram)


def main() -> None:
    """Rewrite the page, or with `--check` end with 1 where it would change."""
    before = PAGE.read_text()
    if "--check" in sys.argv:
        sys.exit(generated(before) != before)
    PAGE.write_text(generated(before))


if __name__ == "__main__":
    main()
