"""The environment variables that Tracer reads, in one place."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reconciler.contract.errors import BadInput


class Settings(BaseSettings):
    """The settings, from the environment and from a file `.env` in the working directory.

    The environment wins. An empty variable counts as not set. Only the variables named here are
    read from the file: Modal's must be in the environment, and Prefect reads the file by itself.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, env_file=".env", extra="ignore")

    database_url: str | None = Field(None, validation_alias="DATABASE_URL", repr=False)
    home: Path = Field(Path(".tracer"), validation_alias="TRACER_HOME")
    steps: Annotated[tuple[str, ...], NoDecode] = Field(
        ("workers.steps",), min_length=1, validation_alias="TRACER_STEPS"
    )
    workers: Literal["local", "modal"] = Field("local", validation_alias="TRACER_WORKERS")
    worker_processes: int = Field(
        default_factory=lambda: os.cpu_count() or 2,
        ge=1,
        validation_alias="TRACER_WORKER_PROCESSES",
    )
    grace_s: float = Field(30.0, ge=0, validation_alias="TRACER_GRACE_S")
    spawn_timeout_s: float = Field(10.0, gt=0, validation_alias="TRACER_SPAWN_TIMEOUT_S")
    modal_app: str = Field("tracer", validation_alias="TRACER_MODAL_APP")
    modal_secret: str = Field("tracer-database", validation_alias="TRACER_MODAL_SECRET")

    @field_validator("steps", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        """Read names that are separated by commas."""
        if isinstance(given, str):
            return tuple(name for part in given.split(",") if (name := part.strip()))
        return given

    def environment(self) -> dict[str, str]:
        """These settings as variables, for a child process in any working directory."""
        values = {
            str(field.validation_alias): getattr(self, name)
            for name, field in type(self).model_fields.items()
        }
        values |= {"TRACER_HOME": self.home.resolve(), "TRACER_STEPS": ",".join(self.steps)}
        return {name: str(value) for name, value in values.items() if value is not None}


def load_settings() -> Settings:
    """Read the environment and `.env`.

    Raises:
        BadInput: a variable has a value that cannot be used, or the file cannot be read; the
            message names the variable and never shows a value, which may be a secret.
    """
    if Path(".env").is_fifo():  # to read it would wait for a writer, maybe for ever
        raise BadInput(".env is a named pipe. Set its variables in the environment instead.")
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
        names = [str(e["loc"][0]) for e in error.errors() if e["loc"][0] in os.environ]
        fix = f"unset {' '.join(names)}" if names else None  # .env is to be edited
        raise BadInput(f"Environment or .env: {wrong}.", fix) from error
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadInput(f".env cannot be read: {why}.") from error


def runtime_dir(home: Path) -> Path:
    """The private directory for this home's Unix sockets; not created here.

    It is outside of `home` because a socket's path may have only about 100 bytes. It does not
    depend on TMPDIR because all programs of a home, cron's too, must find the same one.
    """
    digest = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    return Path("/tmp") / f"tracer-{os.getuid()}-{digest}"


def workers_socket(home: Path) -> Path:
    """The Unix socket of this home's local worker host.

    It has its own directory because `runtime_dir` may belong to Postgres's user.
    """
    runtime = runtime_dir(home)
    return runtime.with_name(f"{runtime.name}-workers") / "workers.sock"
