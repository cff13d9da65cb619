"""`tracer` begins here, in a module of a name that is nobody else's.

With PYTHONPATH=. a folder `cli`, `workers` or `reconciler` in the working directory would be taken
for Tracer's own. So the working directory leaves Python's path before any of them is imported; what
loads the user's steps puts it at the end.
"""

import sys
from contextlib import suppress
from pathlib import Path

OURS = Path(__file__).resolve().parent


def main() -> None:
    """Entry point of the `tracer` command."""
    with suppress(OSError):  # the working directory was deleted
        here = Path.cwd()
        if here != OURS:
            sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
    import cli

    found = Path(str(cli.__file__)).resolve().parents[1]
    if found != OURS:
        sys.stderr.write(f"Take {found} out of PYTHONPATH: its `cli` hides Tracer's own.\n")
        sys.exit(2)
    cli.main()
