"""Folders for the data of servers that live as long as some tests."""

import os
import shutil
import tempfile
from pathlib import Path

IN_MEMORY = Path("/dev/shm")
ENOUGH = 2 << 30  # a container has 64 MB there, unless it is told otherwise


def make_scratch(prefix: str) -> Path:
    """A new folder, in memory where there is such a disk; who asks for it removes it.

    A copy of a database takes 11 ms in memory, and up to 158 on a disk.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place())).resolve()
    folder.chmod(0o755)  # root's Postgres runs as another user, who must reach it
    return folder


def place() -> Path:
    """Where such folders are made."""
    disk = Path(tempfile.gettempdir())
    if not os.access(IN_MEMORY, os.W_OK):
        return disk
    runs = not os.statvfs(IN_MEMORY).f_flag & os.ST_NOEXEC
    return IN_MEMORY if runs and shutil.disk_usage(IN_MEMORY).free > ENOUGH else disk
