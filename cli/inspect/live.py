"""Draws a live view on the terminal's alternate screen, and restores the terminal at the end."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

from rich.console import RenderableType
from rich.live import Live

from cli.render import out

RESIZE_S = 0.2  # longest time until a resized terminal is drawn again


class Screen:
    """Draws each picture over the last one: nothing flickers or scrolls.

    At the end, also after a signal, it restores the terminal and prints the last picture. A signal
    is handled between two pictures: in the middle of one, Rich would stop writing and leave the
    cursor hidden. Ctrl-Z gives the terminal back until `fg`.
    """

    def __init__(self, first: RenderableType) -> None:
        self._shown = first
        self._live = Live(first, console=out, auto_refresh=False, screen=True)
        self._drawing = False
        self._stopped_by: int | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
            signal.signal(number, self._stop)
        self._drawing = True  # until the first picture: `__exit__` does not run after a signal here
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._whole(), suppress(OSError):  # after a hang-up the terminal is gone
            self._live.stop()
            out.print(self._shown)

    def draw(self, picture: RenderableType) -> None:
        """Show `picture`."""
        self._shown = picture
        with self._whole():
            self._live.update(picture, refresh=True)

    def rest(self, seconds: float) -> None:
        """Wait, and draw again if the terminal's size changes."""
        until, size = time.monotonic() + seconds, out.size
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, RESIZE_S))
            if out.size != size:
                size = out.size
                self.draw(self._shown)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopped_by = number
        if not self._drawing:
            self._end()

    def _end(self) -> None:
        """Do what the signal asks for, now that no picture is half drawn."""
        number, self._stopped_by = self._stopped_by, None
        if number == signal.SIGTSTP:
            self._suspend()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        elif number is not None:
            raise SystemExit(128 + number)

    def _suspend(self) -> None:
        """Stop the process, as Ctrl-Z asks for, and draw again when it continues."""
        self._drawing = True
        self._live.stop()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stop)
        self._live.start()
        self.draw(self._shown)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Hold signals back until the block has ended."""
        self._drawing = True
        try:
            yield
        finally:
            self._drawing = False
        self._end()
