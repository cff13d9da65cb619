"""Sends calls to this machine's worker host, over its Unix socket."""

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reconciler.contract.claimed import CLOSED, NO_LIMIT, Chunk, Room
from reconciler.contract.own_socket import Stranger, connect_own
from reconciler.spawners.protocol import Answer, Outcome, Refused, Spawned, Unanswered, Unknown

NO_HOST = "no worker host is running: start `tracer up`, or `tracer workers`"

UNSENT = "not sent: the worker host did not answer an earlier call"


class LocalSpawner:
    """One connection per tick. The host answers each call at once, before it works.

    `no_host` is called where none listens: it may start one, for the next tick.
    """

    def __init__(
        self, path: Path, timeout_s: float = 10.0, no_host: Callable[[], None] = lambda: None
    ) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._no_host = no_host

    def room(self) -> Room:
        """See `Spawner.room`: what the host answers. Closed without a host: it may be restarting,
        and a refused call would throttle the step for other hosts too. Another user's is none."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(self._timeout_s)
            try:
                connect_own(link, self._path)
            except (FileNotFoundError, ConnectionRefusedError, Stranger):
                self._no_host()
                return CLOSED
            except OSError:
                return NO_LIMIT
            try:
                link.sendall(b'{"room": true}\n')
                found = json.loads(_line(link))
                names = (tuple(found["alive"]), tuple(found["gone"]))
                return Room(found["room"], found["holder"], found["family"], *names)
            except (OSError, ValueError, KeyError):  # gone, silent, or of another version
                return NO_LIMIT

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        """See `Spawner.spawn`; local calls have no id."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(self._timeout_s)
            try:
                connect_own(link, self._path)
            except Stranger as error:
                return [Refused(str(error))] * len(chunks)
            except OSError:
                return [Refused(NO_HOST)] * len(chunks)
            return list(self._ask_each(link, chunks))

    def late_answers(self, wait_for_all: bool = False) -> list[Answer]:  # noqa: ARG002
        """See `Spawner.late_answers`: there are none."""
        return []

    def close(self) -> None:
        """See `Spawner.close`."""

    def cancel(self, _: Sequence[str]) -> list[str]:
        """See `Spawner.cancel`. Local calls have no id: the calls are Modal's, none is gone."""
        return []

    def _ask_each(self, link: socket.socket, chunks: Sequence[Chunk]) -> Iterator[Outcome]:
        broken = False  # after a missing answer, the next answer could be an earlier chunk's
        for chunk in chunks:
            outcome = Refused(UNSENT) if broken else self._ask(link, chunk)
            broken = broken or isinstance(outcome, Unknown)
            yield outcome

    def _ask(self, link: socket.socket, chunk: Chunk) -> Outcome:
        request = {"step": chunk.step_name, "company_ids": chunk.company_ids}
        try:
            link.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(link))
        except (OSError, ValueError) as error:
            return Unknown(f"the worker host did not answer: {error or type(error).__name__}")
        return Refused(answer["refused"]) if "refused" in answer else Spawned()


def _line(link: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        part = link.recv(4096)
        if not part:
            raise ConnectionError("it closed the connection")
        received += part
    return bytes(received)
