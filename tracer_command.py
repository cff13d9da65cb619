"""The `tracer` command starts here, in a module whose name no other package has.

With PYTHONPATH=. Python would import a folder `cli`, `workers` or `reconciler` of the working
directory instead of Tracer's own package. So this module takes the working directory off Python's
path first. The loader of the user's steps adds it again, at the end.
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
