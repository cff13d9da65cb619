"""Calls a step's function within its time-out: on a thread, which is left behind when it hangs."""

from queue import Empty, SimpleQueue
from threading import Thread

from reconciler.contract.results import CompanyView, StepResult
from workers.outcome import TookTooLong, produce
from workers.step import Step

# What came of one call: a result, or what was raised.
Came = tuple[StepResult, None] | tuple[None, BaseException]


class Timed:
    """Calls a step with one company after another; `left_behind` counts the calls that hang.

    Python cannot end a thread, so one that hangs stays: whoever makes many calls in a process
    should go on in another one then.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._thread: CallingThread | None = None
        self.left_behind = 0

    def __call__(self, company: CompanyView) -> Came:
        """What the step makes of the company, or what it raised instead: never raised here."""
        self._thread = self._thread or CallingThread(self._step)
        self._thread.companies.put(company)
        try:
            return self._thread.came.get(timeout=self._step.timeout_s)
        except Empty:
            self.close()
            self.left_behind += 1
            return None, TookTooLong(f"took longer than {self._step.timeout_s:g} s")

    def close(self) -> None:
        """Let the thread end, once it comes to that."""
        if self._thread:
            self._thread.companies.put(None)
        self._thread = None


class CallingThread:
    """A thread that takes companies and answers with what came of each."""

    def __init__(self, step: Step) -> None:
        self.companies: SimpleQueue[CompanyView | None] = SimpleQueue()
        self.came: SimpleQueue[Came] = SimpleQueue()
        self._step = step
        Thread(target=self._run, name=step.name, daemon=True).start()

    def _run(self) -> None:
        while company := self.companies.get():
            try:
                came: Came = produce(self._step, company), None
            except BaseException as error:  # noqa: BLE001 - a stranger's code: anything may come
                came = None, error
            self.came.put(came)
