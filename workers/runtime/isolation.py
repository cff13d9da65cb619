"""Which calls of a worker process run side by side, and which alone.

A row that was in the hands of a worker which died may be what killed it. The calls of such rows run
one at a time, and nothing beside them: whatever dies with them, no other row does.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock

from workers.runtime.calls import Call

Start = Callable[[], object]


class Isolation:
    """Admits calls: those that run side by side while none has to run alone."""

    def __init__(self) -> None:
        self._open: set[Call] = set()  # those that run side by side
        self._suspect: deque[tuple[Call, Start]] = deque()
        self._alone: Call | None = None
        self._admits: list[Start] = []
        self._turn = Lock()

    def on_open(self, admit: Start) -> None:
        """Have `admit` called when calls may run side by side again."""
        self._admits.append(admit)

    def enter(self, call: Call) -> bool:
        """Whether the call may begin beside others; if not, `on_open` says when."""
        with self._turn:
            if self._suspect or self._alone:
                return False
            self._open.add(call)
        call.done.add_done_callback(lambda _: self._left(call))
        return True

    def isolate(self, call: Call, start: Start) -> None:
        """Have an admitted call started once nothing else runs."""
        with self._turn:
            self._open.discard(call)
            self._suspect.append((call, start))
        self._go_on()

    def withdraw(self, call: Call) -> bool:
        """Start the call no more; whether it was waiting for that."""
        with self._turn:
            waiting = len(self._suspect)
            self._suspect = deque(entry for entry in self._suspect if entry[0] is not call)
            return len(self._suspect) < waiting

    def _left(self, call: Call) -> None:
        with self._turn:
            self._open.discard(call)
            if self._alone is call:
                self._alone = None
        self._go_on()

    def _go_on(self) -> None:
        """Start the next that runs alone, or let the others in."""
        with self._turn:
            if self._open or self._alone:
                return
            if not self._suspect:
                starts = list(self._admits)
            else:
                self._alone, start = self._suspect.popleft()
                starts = [start]
        for start in starts:
            start()
