"""`python -m workers.sample`: serves the sample provider until Ctrl-C."""

import argparse
import sys
from contextlib import suppress
from threading import Event

from workers.sample.place import URL
from workers.sample.provider import HOST, SampleProvider, serving

PORT = 8765


def main() -> None:
    """Serve, and say what to set so that steps find it."""
    parser = argparse.ArgumentParser(prog="python -m workers.sample", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT, help=f"Default: {PORT}; 0: any.")
    port = parser.parse_args().port
    try:
        with suppress(KeyboardInterrupt), serving(SampleProvider(), port) as url:
            sys.stdout.write(f"export {URL}={url}\n")
            sys.stdout.flush()
            Event().wait()
    except OSError as error:
        sys.exit(f"{HOST}:{port} cannot be used: {error.strerror}. Name another with --port.")


if __name__ == "__main__":
    main()
