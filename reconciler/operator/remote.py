"""Files at a URL, by fsspec: s3://, gs://, https://, and what else is installed for it."""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import cast
from urllib.parse import unquote, urlsplit

from reconciler.contract.errors import BadInput

MISSING = 404
_SECRET = re.compile(r"(?<=://)[^/@\s']*@|\?[^\s']*")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
# What clients of stores raise beside OSError, where they are loaded: module and class.
_FAULTS = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("gcsfs.retry", "HttpError"),
)


def is_remote(path: str) -> bool:
    """Whether the path is a URL."""
    return bool(_REMOTE.match(path))


def file_name(path: str) -> str:
    """The last part of a path or of a URL, without the query."""
    return PurePosixPath(unquote(urlsplit(path).path) if is_remote(path) else path).name


def shown_url(url: str) -> str:
    """The URL for messages: without user, password and query, which may hold a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def open_remote(url: str) -> tuple[io.BufferedReader, int | None]:
    """Open the file at `url` for reading; returns its bytes, and their number if it is known.

    Raises:
        BadInput: it cannot be read, or what reads such URLs is not installed.
    """
    with explained(url, "read"):
        import fsspec  # with a store's client it takes half a second

        files, path = fsspec.core.url_to_fs(url)
        file = files.open(path, "rb")
    # An fsspec file is a raw stream, and only in name a buffered one.
    return io.BufferedReader(cast(io.RawIOBase, file)), getattr(file, "size", None)


def put_remote(file: str, url: str) -> None:
    """Copy a local file to `url`; what was there is replaced at the end, or stays.

    Raises:
        BadInput: it cannot be written.
    """
    with explained(url, "written"):
        import fsspec

        files, path = fsspec.core.url_to_fs(url)
        files.put_file(file, path)


@contextmanager
def explained(url: str, done: str) -> Iterator[None]:
    """Turn what a store's client raises into one sentence.

    Raises:
        BadInput: the block has failed.
    """
    where = shown_url(url)
    try:
        yield
    except ImportError as error:
        scheme = urlsplit(url).scheme
        package = f"tracer[{_EXTRAS[scheme]}]" if scheme in _EXTRAS else "its package for fsspec"
        raise BadInput(f"{where} needs a package that is not installed: {package}.") from error
    except FileNotFoundError as error:
        if (cause := error.__cause__) and not _is_missing(cause):
            raise BadInput(f"{where} cannot be {done}: {_first_line(cause)}.") from error
        raise BadInput(f"There is no file {where}: check the URL.") from error
    except NotImplementedError as error:
        raise BadInput(f"{where} cannot be {done}: such URLs are for reading only.") from error
    except _faults() as error:
        raise BadInput(f"{where} cannot be {done}: {_first_line(error)}.") from error


def _is_missing(cause: BaseException) -> bool:
    """Whether it says that there is no file; for https, fsspec says so of every other fault too."""
    if isinstance(cause, OSError):
        return isinstance(cause, FileNotFoundError)
    return bool(getattr(cause, "status", MISSING) == MISSING)


def _first_line(error: BaseException) -> str:
    """The error in one line, without the query and the password of any URL in it."""
    text = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return _SECRET.sub("", text)


def _faults() -> tuple[type[Exception], ...]:
    loaded = (
        getattr(sys.modules[module], name) for module, name in _FAULTS if module in sys.modules
    )
    return (OSError, ValueError, *loaded)
