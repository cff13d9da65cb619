"""The Modal app: one function per step. Deploy it with `modal deploy -m workers.app`.

Each function is a shell around `lifecycle.work`, which the local host runs too. Modal's retries
are off, since the tick owns them; inputs arrive at least once, which `begin` makes harmless.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import version

import modal

from reconciler.contract.errors import BadInput
from reconciler.contract.settings import load_settings
from reconciler.contract.work import WorkerStore
from workers.lifecycle import work
from workers.step import Step, load_steps

PYTHON = "3.12"
PACKAGES = (
    "sqlmodel",
    "psycopg",
    "psycopg-binary",
    "psycopg-pool",
    "pydantic-settings",
    "tldextract",
)
LONGEST_S = 24 * 60 * 60  # the longest time-out that Modal takes
SECRET_KEYS = ["DATABASE_URL"]


def image(packages: tuple[str, ...] = ()) -> modal.Image:
    """The versions that are installed here, a step's own packages, and the code."""
    return (
        modal.Image.debian_slim(python_version=PYTHON)
        .pip_install(*(f"{name}=={version(name)}" for name in PACKAGES), *packages)
        .add_local_python_source("reconciler", "workers")
    )


@cache
def store() -> WorkerStore:
    """The container's one small pool of connections.

    Raises:
        BadInput: the Modal secret has no DATABASE_URL.
    """
    url = load_settings().database_url
    if not url:
        raise BadInput("The Modal secret has no DATABASE_URL.")
    return WorkerStore.connect(url)


def entry(step: Step) -> Callable[[list[int]], None]:
    """The function that Modal calls for `step`, with company ids and nothing else."""

    def call(company_ids: list[int]) -> None:
        work(store(), step, company_ids)

    # Modal finds a function in its container by this name in this module.
    call.__name__ = call.__qualname__ = f"call_{step.name}"
    return call


def time_out(step: Step) -> int:
    """Seconds that one call may take: its companies one after another, and their writes."""
    chunk = int(step.settings.get("chunk_size", 100))
    return min(LONGEST_S, int(step.timeout_s * chunk) + 60)


settings = load_settings()
app = modal.App(
    settings.modal_app,
    secrets=[modal.Secret.from_name(settings.modal_secret, required_keys=SECRET_KEYS)],
)

for _step in load_steps().values():
    _call = entry(_step)
    globals()[_call.__name__] = app.function(
        name=_step.name, image=image(_step.packages), retries=0, timeout=time_out(_step)
    )(_call)
