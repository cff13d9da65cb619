"""Run the control plane in the foreground: `python -m tests.standins.controlplane`."""

import argparse
import asyncio
import logging
import signal
import sys

from tests.standins.controlplane.execution import Containers, InProcess
from tests.standins.controlplane.protocols import Runner
from tests.standins.controlplane.server import running

THREADS = 8


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.standins.controlplane", description=__doc__
    )
    parser.add_argument("--log-level", default="WARNING", help="DEBUG, INFO, WARNING or ERROR")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; a free one by default")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--containers", type=int, default=0, help="execute in so many at a time")
    how.add_argument("--in-process", action="store_true", help="execute in threads of this process")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> Runner | None:
    """What executes the calls; None lets them queue up."""
    if options.in_process:
        return InProcess(THREADS)
    return Containers(options.containers) if options.containers else None


async def main(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM; the first lines say what to export."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(chosen(options), options.port) as plane:
        lines = [f"export {name}={value}\n" for name, value in plane.environment().items()]
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    given = arguments()
    logging.basicConfig(level=given.log_level)
    asyncio.run(main(given))
