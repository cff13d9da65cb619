"""Writes what the documents have from the code: the state diagram. `--check` only compares."""

import re
import sys
from pathlib import Path

from reconciler.contract.states import mermaid

PAGE = Path(__file__).parent / "concepts.md"
DIAGRAM = re.compile(r"(?<=```mermaid\n).*?(?=\n```)", re.DOTALL)


def generated(page: str) -> str:
    """`page` with its diagram as TRANSITIONS have it."""
    return DIAGRAM.sub(lambda _: mermaid(), page)


def main() -> None:
    """Rewrite the page, or with `--check` end with 1 where it would change."""
    before = PAGE.read_text()
    if "--check" in sys.argv:
        sys.exit(generated(before) != before)
    PAGE.write_text(generated(before))


if __name__ == "__main__":
    main()
