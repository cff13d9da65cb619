"""The database of Prefect's server, which a new server would migrate: 5 s of CPU each time."""

import fcntl
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tests.scratch import make_scratch


def migrated(folder: Path) -> Path:
    """Such a database, made once and kept in `folder`, which several processes may share."""
    kept = folder / f"{metadata.version('prefect')}.db"
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not kept.exists():
            _make(kept)
    return kept


def _make(kept: Path) -> None:
    home = make_scratch("tracer-prefect-")
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    environment = {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}
    subprocess.run(command, cwd=home, env=environment, check=True, capture_output=True)
    partial = shutil.copy(home / "prefect.db", kept.with_suffix(".partial"))
    Path(partial).rename(kept)
    shutil.rmtree(home)


def give(database: Path, home: Path) -> None:
    """Have the server of this TRACER_HOME begin with a copy of it."""
    (home / "prefect").mkdir()
    shutil.copy(database, home / "prefect" / "prefect.db")
