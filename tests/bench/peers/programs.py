"""Programs that do a system's work, and the words between them and the runner.

A program is `PYTHON FILE install`, `enqueue FIRST LAST` or `work`. It gets DATABASE_URL and, as
JSON, PEER_SETTINGS. `work` says "ready" once it can work, and works until it is ended. `enqueue`
says "ready" once it is connected, waits for a line, enqueues, says "done" after its commit, and
waits to be ended: an interpreter that ends takes CPU from those that are measured.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.local.lifeline import end_all, family, read_stat

ROOT = Path(__file__).parents[3]
READY_S = 120.0
GRACE_S = 5.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Broken(Exception):
    """A program did not do its part; the message ends with what it wrote to stderr."""


@dataclass(frozen=True)
class Call:
    """How a system's programs are called."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path

    @classmethod
    def of(cls, command: Iterable[str], url: str, settings: Mapping[str, Any], log: Path) -> "Call":
        """With what every program gets."""
        given = {"DATABASE_URL": url, "PEER_SETTINGS": json.dumps(settings)}
        return cls(tuple(command), os.environ | given, log)

    @contextmanager
    def started(self, *role: str) -> Iterator["Program"]:
        """The program in one role, ended with all its children at the end."""
        with (
            self.log.open("a") as log,
            subprocess.Popen(
                (*self.command, *role),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                yield Program(process, self.log)
            finally:
                end_all({process.pid}, GRACE_S)


@dataclass(frozen=True)
class Program:
    """One running program."""

    process: "subprocess.Popen[str]"
    log: Path

    def wait_for(self, word: str) -> None:
        """Return once it says `word`.

        Raises:
            Broken: it ended, or was ended after `READY_S`, without saying so.
        """
        assert self.process.stdout
        patience = threading.Timer(READY_S, self.process.kill)
        patience.start()
        try:
            if all(line.strip() != word for line in self.process.stdout):
                raise Broken(
                    f"no {word!r} from {self.process.args}: {self.log.read_text()[-3000:]}"
                )
        finally:
            patience.cancel()

    def last_words(self) -> str:
        """The end of what the system's programs wrote to stderr."""
        return self.log.read_text(errors="replace")[-3000:]

    def tell(self) -> None:
        """Let it go on."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def must_run(self) -> None:
        """Nothing, while it runs.

        Raises:
            Broken: it does not.
        """
        if self.process.poll() is not None:
            raise Broken(f"{self.process.args} has ended: {self.last_words()}")

    def wait(self) -> None:
        """Return once it has ended well.

        Raises:
            Broken: it ended otherwise.
        """
        if self.process.wait(READY_S):
            raise Broken(f"{self.process.args} failed: {self.last_words()}")


def cpu_s(roots: Iterable[int]) -> float | None:
    """CPU seconds of these and their families so far, with their ended children; Linux only."""
    stats = [read_stat(pid) for root in roots for pid in family(root)]
    used = [sum(map(int, stat[11:15])) for stat in stats if stat]
    return sum(used) / TICKS_PER_S if used else None
