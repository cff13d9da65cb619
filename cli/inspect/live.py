"""A screen of its own for a view that moves, and the terminal as it was when that ends."""

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

RESIZE_S = 0.2  # until a terminal that was resized is drawn anew


class Screen:
    """Draws each picture over the one before: nothing flickers or scrolls, whatever the size.

    In the end the terminal shows what it did before, and under it the last picture, be it that all
    is over or that a signal came. None ends a picture midway: Rich would not write again, and leave
    the terminal without a cursor. Ctrl-Z gives the terminal back for as long as it stops this.
    """

    def __init__(self, first: RenderableType) -> None:
        self._shown = first
        self._live = Live(first, console=out, auto_refresh=False, screen=True)
        self._drawing = False
        self._stopped_by: int | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
            signal.signal(number, self._stop)
        self._drawing = True  # until the first picture is: who is stopped in here never exits
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._whole(), suppress(OSError):  # after a hang-up nobody is there to write to
            self._live.stop()
            out.print(self._shown)

    def draw(self, picture: RenderableType) -> None:
        """Show `picture`."""
        self._shown = picture
        with self._whole():
            self._live.update(picture, refresh=True)

    def rest(self, seconds: float) -> None:
        """Wait, and draw anew when the terminal has another size."""
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
        """End as the signal would, in order."""
        number, self._stopped_by = self._stopped_by, None
        if number == signal.SIGTSTP:
            self._suspend()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        elif number is not None:
            raise SystemExit(128 + number)

    def _suspend(self) -> None:
        """Stop as Ctrl-Z asks for, and draw again when that is over."""
        self._drawing = True
        self._live.stop()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stop)
        self._live.start()
        self.draw(self._shown)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        self._drawing = True
        try:
            yield
        finally:
            self._drawing = False
        self._end()
