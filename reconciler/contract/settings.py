"""The environment variables that Tracer reads, in one place."""

import hashlib
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from reconciler.contract.errors import BadInput


class Settings(BaseSettings):
    """What the environment says; an empty variable is as good as none."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    database_url: str | None = Field(None, validation_alias="DATABASE_URL", repr=False)
    home: Path = Field(Path(".tracer"), validation_alias="TRACER_HOME")
    workers: Literal["local", "modal"] = Field("local", validation_alias="TRACER_WORKERS")
    worker_processes: int = Field(
        default_factory=lambda: os.cpu_count() or 2,
        ge=1,
        validation_alias="TRACER_WORKER_PROCESSES",
    )
    spawn_timeout_s: float = Field(10.0, gt=0, validation_alias="TRACER_SPAWN_TIMEOUT_S")
    modal_app: str = Field("tracer", validation_alias="TRACER_MODAL_APP")
    modal_secret: str = Field("tracer-database", validation_alias="TRACER_MODAL_SECRET")


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        BadInput: a variable has a value that cannot be used; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
        raise BadInput(f"Environment: {wrong}.") from error


def runtime_dir(home: Path) -> Path:
    """The private directory for this home's Unix sockets; not created here.

    It is outside of `home` because a socket's path may have only about 100 bytes, and does not
    follow TMPDIR because all of a home's programs, cron's too, must find the same one.
    """
    digest = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    return Path("/tmp") / f"tracer-{os.getuid()}-{digest}"


def workers_socket(home: Path) -> Path:
    """Where the local worker host of this home listens.

    In a directory of its own, since that of `runtime_dir` may belong to Postgres's user.
    """
    runtime = runtime_dir(home)
    return runtime.with_name(f"{runtime.name}-workers") / "workers.sock"
