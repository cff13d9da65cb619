"""The Modal app: one function per step. `tracer modal deploy` deploys it.

Each function is a shell around the `Runtime`, which the local host runs too. Modal's retries
are off, since the tick owns them; inputs arrive at least once, which `begin` makes harmless.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from math import ceil
from threading import Lock
from time import monotonic, sleep

import modal
import modal.experimental

from reconciler.contract.errors import BadInput, TracerError, Unreachable
from reconciler.contract.holds import Hold, HoldKind, Unloaded
from reconciler.contract.secrets import log_masked
from reconciler.contract.settings import load_settings
from reconciler.contract.worker_store import WorkerStore
from workers.kit import LONGEST_S, Step
from workers.pins import PYTHON, pins
from workers.runtime.loading import load_steps, refuse
from workers.runtime.patience import BEGIN_PATIENCE_S
from workers.runtime.runtime import CONNECTIONS, Runtime

log = logging.getLogger("tracer.worker")

CHUNK_GROWS = 10
# Modal kills a container 30 s after SIGTERM; what came of its calls is written before.
LONGEST_GRACE_S = 20.0
SECRET_KEYS = ["DATABASE_URL"]
# Left out of the image: a program that runs beside a deploy may write them, which Modal refuses.
COMPILED = ["**/__pycache__", "**/*.pyc"]


def image(packages: tuple[str, ...] = ()) -> modal.Image:
    """The versions that are installed here, a step's own packages, and the code of all steps."""
    # By default Modal leaves out all that is no .py file; a step may read a prompt or a table.
    of_steps = {name.partition(".")[0] for name in settings.steps}
    return (
        modal.Image.debian_slim(python_version=PYTHON)
        .pip_install(*pins(packages), *packages)
        .add_local_python_source(*sorted({"reconciler", "workers"} | of_steps), ignore=COMPILED)
    )


class Container:
    """What all calls of a container share: one runtime, with one small pool of connections."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._starting: Future[Runtime] | None = None
        self._store: WorkerStore | None = None

    def runtime(self) -> Runtime:
        """The running runtime: the first call connects, for all that come meanwhile.

        Raises:
            BadInput: the Modal secret has no DATABASE_URL, or its schema is another.
            Unreachable: no database has answered for `BEGIN_PATIENCE_S`.
        """
        with self._turn:
            failed = self._starting and self._starting.done() and self._starting.exception()
            if first := not self._starting or bool(failed):
                self._starting = Future()
            starting = self._starting
        if first:
            log_masked()
            try:
                self._store = connect_patiently()
                starting.set_result(Runtime(self._store))
            except TracerError as error:
                starting.set_exception(error)
        return starting.result()

    def refuse(self, step: str, company_ids: list[int], why: str) -> None:
        """Hold a step that cannot be worked here, and release what was claimed of it."""
        self.runtime()
        assert self._store
        if self._store.hold(step, Hold(HoldKind.IMPORT, why)):
            log.warning("%s is held: %s", step, why)
        self._store.release(step, company_ids)

    def close(self) -> None:
        """End the runtime, if it runs, and its connections."""
        if self._starting and self._store:
            self._starting.result().close()
            self._store.close()


def connect_patiently() -> WorkerStore:
    """Connect, again and again: a call that is given up costs its companies an attempt each."""
    url, deadline = load_settings().database_url, monotonic() + BEGIN_PATIENCE_S
    if not url:
        raise BadInput("The Modal secret has no DATABASE_URL.")
    while True:
        try:
            return WorkerStore.connect(url, max_size=CONNECTIONS)
        except Unreachable:
            if monotonic() >= deadline:
                raise
            sleep(1)


CONTAINER = Container()
CALL = "call_"
settings = load_settings()
unloaded: list[Unloaded] = []  # in a container: a deploy refuses what cannot be loaded


def entry(step: Step) -> Callable[[list[int]], Awaitable[None]]:
    """The function that Modal calls for `step`, with company ids and nothing else.

    It is async so that Modal can cancel one call: of a function that is not, it ends the whole
    container, and with it what other calls there have paid for and not yet written. The work is
    done on the runtime's own event loop, so Modal's is never blocked.
    """

    async def call(company_ids: list[int]) -> None:
        runtime = await asyncio.to_thread(CONTAINER.runtime)
        taken = runtime.submit(step, company_ids, modal.current_function_call_id())
        working = asyncio.wrap_future(taken.done)
        try:
            report = await asyncio.shield(working)
        except asyncio.CancelledError:
            # Or SIGTERM to the container.
            runtime.stop(taken, min(settings.grace_s, LONGEST_GRACE_S))
            while not working.done():
                with suppress(asyncio.CancelledError):  # a second time
                    await asyncio.shield(working)
            raise
        if report.left_behind and not modal.is_local():
            await modal.experimental.stop_fetching_inputs.aio()

    # Modal finds a function in its container by this name in this module.
    call.__name__ = call.__qualname__ = f"{CALL}{step.name}"
    return call


def refusal(step: str) -> Callable[[list[int]], Awaitable[None]]:
    """What Modal calls for a step that cannot be loaded here: it is held, and nobody fails."""
    why = "; ".join(fault.says for fault in unloaded)

    async def call(company_ids: list[int]) -> None:
        await asyncio.to_thread(CONTAINER.refuse, step, company_ids, why)

    return call


def __getattr__(name: str) -> Callable[[list[int]], Awaitable[None]]:
    """The function that Modal looks for, where its step is not among those that were loaded."""
    if unloaded and name.startswith(CALL):
        return refusal(name.removeprefix(CALL))
    raise AttributeError(name)


def calls_at_once(step: Step) -> int:
    """How many calls one container takes, so that it works `concurrency` companies at a time.

    It is laid down at deploy, by the chunk size that the step's code names.
    """
    return max(1, round(step.companies_at_once / chunk_size(step)))


def chunk_size(step: Step) -> int:
    """The companies of a call, as the step's code names them, else the registry's default."""
    return int(step.settings.get("chunk_size", 100))


def time_out(step: Step) -> int:
    """Seconds after which Modal ends a call, whatever it does: a company has a time-out of its own.

    It is laid down at deploy and the chunk's size can be raised later, hence `CHUNK_GROWS`.
    """
    rounds = ceil(chunk_size(step) / step.companies_at_once)
    return min(LONGEST_S, int(step.timeout_s * rounds * CHUNK_GROWS) + 60)


app = modal.App(
    settings.modal_app,
    secrets=[
        modal.Secret.from_name(settings.modal_secret, required_keys=SECRET_KEYS),
        modal.Secret.from_dict({"TRACER_STEPS": ",".join(settings.steps)}),
    ],
)

for _step in load_steps(on_fault=refuse if modal.is_local() else unloaded.append).values():
    _call = entry(_step)
    globals()[_call.__name__] = app.function(
        name=_step.name,
        image=image(_step.packages),
        secrets=[modal.Secret.from_name(name) for name in _step.secrets],
        retries=0,
        timeout=time_out(_step),
    )(modal.concurrent(max_inputs=calls_at_once(_step))(_call))
