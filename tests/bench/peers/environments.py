"""Python environments of the peers' own, outside the repository: made once, then used again."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def default_directory() -> Path:
    """Where this platform keeps what can be made again."""
    if os.name == "nt":
        return Path(os.environ["LOCALAPPDATA"]) / "tracer-peers"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tracer-peers"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tracer-peers"


def python(directory: Path, name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment that holds `requirements`, made on first use.

    Raises:
        subprocess.CalledProcessError: it cannot be made; pip's own words are on stderr.
    """
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:8]
    home = directory / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}-{digest}"
    found = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    complete = home / "complete"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        quiet = ("--quiet", "--disable-pip-version-check")
        command = [found, "-m", "pip", "install", *quiet, *requirements]
        subprocess.run(command, check=True, stdout=sys.stderr)
        complete.touch()
    return found
