"""The operator's command line."""

import sys


def main() -> None:
    """Entry point of the `tracer` command: quiet on Ctrl-C from the first moment on."""
    try:
        from cli.main import run  # a second of imports, in which Ctrl-C is no traceback either

        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # less than UTF-8
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
