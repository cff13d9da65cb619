"""Which hosts of one place live: each has a file that its processes hold locked until they end."""

import fcntl
import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

SUFFIX = ".alive"


class Presence:
    """A host's name, and the file that says whether one of its processes still lives.

    The kernel gives up a lock when its process ends, whatever ends it. So a host that starts knows
    which of those before it are gone for good. `family` begins the names of all hosts of this
    place, on this machine alone.
    """

    def __init__(self, place: Path) -> None:
        here = f"{socket.gethostname()}:{place}"
        self.family = f"{hashlib.sha256(here.encode()).hexdigest()[:12]}-"
        self.name = f"{self.family}{uuid4().hex[:12]}"
        self.lock = place / f"{self.name}{SUFFIX}"
        self._held: int | None = None

    def begin(self) -> None:
        """Be alive from now on. Call it before the host listens."""
        self._held = os.open(self.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._held, fcntl.LOCK_SH)

    def alive(self) -> list[str]:
        """The names of the hosts of which a process lives; files of the others are removed."""
        found = [self.name]
        for file in self.lock.parent.glob(f"{self.family}*{SUFFIX}"):
            if file != self.lock and not _remove_if_free(file):
                found.append(file.name.removesuffix(SUFFIX))
        return found

    def end(self) -> None:
        """Be alive no more, once the worker processes have ended too."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
            _remove_if_free(self.lock)


def _remove_if_free(file: Path) -> bool:
    """Remove a file that no process holds; whether it is gone."""
    with suppress(FileNotFoundError):
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
    return True
