"""The operator's command line."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Entry point of the `tracer` command: Ctrl-C never shows a traceback."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if not getattr(sys, name):  # the parent process has closed it
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open until the end
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # if not UTF-8
    try:
        from cli.main import run  # here, because a Ctrl-C during this second must be quiet too

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
