"""Writes what the README has from the code: the state diagram. `--check` only compares."""

import re
import sys
from pathlib import Path

from reconciler.contract.states import mermaid

README = Path(__file__).parent.parent / "README.md"
DIAGRAM = re.compile(r"(?<=```mermaid\n).*?(?=\n```)", re.DOTALL)


def generated(readme: str) -> str:
    """`readme` with its diagram as TRANSITIONS have it."""
    return DIAGRAM.sub(lambda _: mermaid(), readme)


def main() -> None:
    """Rewrite the README, or with `--check` end with 1 where it would change."""
    before = README.read_text()
    if "--check" in sys.argv:
        sys.exit(generated(before) != before)
    README.write_text(generated(before))


if __name__ == "__main__":
    main()
