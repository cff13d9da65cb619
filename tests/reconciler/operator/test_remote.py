"""A file at a URL is read as one on the disk; what goes wrong is one sentence without secrets."""

import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
import xlsxwriter

from reconciler.contract.errors import BadInput
from reconciler.operator.remote import open_remote, put_remote
from reconciler.operator.seeding.file import batch_name, open_seed_file
from tests.reconciler.operator.seeding.reading import read


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The URL of a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_at_a_url_is_read(served: str, tmp_path: Path) -> None:
    (tmp_path / "the leads.csv").write_text("id,name\n1,A\n")
    url = f"{served}/the%20leads.csv?signature=secret"
    assert read(url)[1][0].name == "A"
    with open_seed_file(url, mapping={}, key=None) as seed:
        assert (seed.name, batch_name(url)) == ("the leads.csv", "the leads")


def test_a_server_that_sends_from_the_start_only_will_do(served: str, tmp_path: Path) -> None:
    """For what is read from its end: a workbook, Parquet, a zip."""
    with xlsxwriter.Workbook(tmp_path / "leads.xlsx") as workbook:
        sheet = workbook.add_worksheet()
        for number in range(5_000):
            sheet.write_row(number, 0, ["id" if number == 0 else number, f"name {number}"])
    with zipfile.ZipFile(tmp_path / "leads.zip", "w") as archive:
        archive.writestr("leads.csv", "id,name\n" + "1,A\n" * 100_000)
    assert len(read(f"{served}/leads.xlsx")[1]) == 4_999
    assert len(read(f"{served}/leads.zip")[1]) == 100_000


def test_a_packed_file_in_a_store_is_read() -> None:
    with fsspec.open("memory://bucket/leads.csv.gz", "wb", compression="gzip") as file:
        file.write(b"id,name\n1,A\n")
    assert read("memory://bucket/leads.csv.gz")[1][0].key == "1"
    assert batch_name("memory://bucket/leads.csv.gz") == "leads"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("{served}/none.csv?key=secret", "There is no file http://127.0.0.1:"),
        ("http://a:secret@127.0.0.1:9/x.csv", "http://127.0.0.1:9/x.csv cannot be read: Cannot"),
        ("odd://secret@x/y.csv", "odd://x/y.csv cannot be read: Protocol not known: odd"),
        ("s3://bucket/x.csv", "s3://bucket/x.csv needs a package that is not installed: tracer[s3"),
        ("sftp://a/x.csv", "is not installed: its package for fsspec"),
    ],
)
def test_what_cannot_be_read_is_one_clear_sentence(
    served: str, monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    for missing in ("s3fs", "paramiko"):
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(BadInput, match=r"^[^\n]+$") as raised:
        open_remote(url.format(served=served))
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)


def test_what_cannot_be_written_is_one_clear_sentence(served: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        put_remote(str(tmp_path), f"{served}/x.csv")
