"""The operator's command line."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Entry point of the `tracer` command: quiet on Ctrl-C from the first moment on."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if not getattr(sys, name):  # it was closed by whoever started this
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - to the end
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # less than UTF-8
    try:
        from cli.main import run  # a second of imports, in which Ctrl-C is no traceback either

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
