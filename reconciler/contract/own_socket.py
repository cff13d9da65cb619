"""Unix sockets that are this user's alone: others may have made the directory in /tmp first."""

import os
import socket
import stat
import struct
from pathlib import Path

from reconciler.contract.errors import BadInput

# macOS and FreeBSD have no SO_PEERCRED, and Python no names for theirs (sys/un.h). The answer is a
# version and a uid, and more.
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1


class Stranger(OSError):
    """What is at a socket's place, or who is at its other end, is not this user's."""


def make_private(directory: Path) -> None:
    """Make a directory for sockets that only this user can enter; one that exists is closed.

    Raises:
        BadInput: it is someone else's, or no directory.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    if fault := _foreign(directory):
        raise BadInput(f"{fault}: remove it, or set TRACER_HOME.")
    directory.chmod(0o700)


def connect_own(link: socket.socket, path: Path) -> None:
    """Connect to the socket `path`, if its directory and who listens there are this user's.

    Raises:
        Stranger: one of them is not. Nothing was sent.
        OSError: nobody listens there, or not in time.
    """
    if fault := _foreign(path.parent):
        raise Stranger(fault)
    link.connect(str(path))
    if not of_this_user(link):
        raise Stranger(f"{path} is listened to by another user's program")


def of_this_user(link: socket.socket) -> bool:
    """Whether the program at the other end is this user's."""
    return _peer_uid(link) == os.geteuid()


def peer_pid(link: socket.socket) -> int | None:
    """The pid of the program at the other end; None if the operating system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    return _credentials(link)[0]


def _foreign(directory: Path) -> str | None:
    """What is wrong with a socket's directory. FileNotFoundError, if there is none."""
    found = directory.lstat()  # a link would be followed to wherever its owner likes
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory} is not a directory"
    if found.st_uid != os.geteuid():
        return f"{directory} belongs to another user"
    return None


def _peer_uid(link: socket.socket) -> int:
    if hasattr(socket, "SO_PEERCRED"):
        return _credentials(link)[1]
    found = link.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 128)
    return int(struct.unpack_from("2I", found)[1])


def _credentials(link: socket.socket) -> tuple[int, int]:
    found = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("iII", found)
    return pid, uid
