"""`tracer export`: nothing of a batch is missing in it, and what was at its place is safe."""

import csv
import io
import json
import os
import threading
from pathlib import Path

import pytest
from pyarrow import parquet

from cli.output_file import opened
from reconciler.contract.errors import BadInput
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator.export import read_companies
from tests.cli.test_commands import SEED
from tests.terminal import Terminal
from tests.world import World, finish
from workers.steps.normalize import Normalized


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_export_joins_input_and_results(
    tracer: Terminal, file: str, world: World, tmp_path: Path, format_: str
) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    finish(world)
    path = tmp_path / "out"
    tracer("export", "b", "--format", format_, "-o", str(path))
    if format_ == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        apple = next(row for row in rows if row["key"] == "320193")
        assert apple["attributes"]["Security"] == "Apple Inc."
        assert apple["steps"]["normalize"]["result"]["legal_form"] == "Inc."
        assert apple["steps"]["step_a"]["status"] == "COMPLETED"
        return
    if format_ == "csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
    else:
        rows = parquet.read_table(path).to_pylist()
    apple = next(row for row in rows if row["key"] == "320193")
    assert list(apple)[:4] == ["key", "Security", "Company Website Full", "CIK"]
    assert apple["normalize.legal_form"] == "Inc."
    assert apple["normalize.domain"] == "apple.com"
    assert apple["step_a.attribute_count"] in (3, "3")


def test_a_step_without_a_result_has_empty_cells_whatever_an_earlier_batch_found(
    tracer: Terminal, file: str, world: World, tmp_path: Path
) -> None:
    tracer("seed", file, *SEED, "--name", "before")
    finish(world)
    tracer("seed", file, *SEED, "--name", "b")
    world.tick()
    ends = [Failure(None, Status.NOT_FOUND), Failure("no input", Status.SKIPPED)]
    world.worker.fail(world.worker.begin("normalize", world.ids()), ends)
    rows = exported(tracer, tmp_path / "out.csv")
    assert sorted(row["normalize.status"] for row in rows) == ["NOT_FOUND", "SKIPPED"]
    assert {row["normalize.domain"] for row in rows} == {""}


def test_a_batch_that_found_nothing_shows_what_an_earlier_one_found_and_its_source(
    tracer: Terminal, file: str, world: World, tmp_path: Path
) -> None:
    for name, found in (("before", "a.com"), ("b", None)):
        tracer("seed", file, "--blueprint", "normalize", "--name", name)
        world.tick()
        attempts = world.worker.begin("normalize", world.ids())
        world.worker.complete(attempts, [Normalized(domain=found) for _ in attempts], f"v-{name}")
        world.tick()
    rows = exported(tracer, tmp_path / "out.csv")
    assert [(row["normalize.status"], row["normalize.domain"]) for row in rows] == [
        ("COMPLETED", "a.com"),
        ("COMPLETED", "a.com"),
    ]
    assert not {"normalize.written_for", "normalize.written_with"} & set(rows[0])
    batch = world.operator.batch("b")
    first, second = read_companies(world.operator, batch, {"normalize": Normalized.__table__})
    source = first["normalize.source"]
    assert (source["batch"], source["version"]) == ("before", "v-before")
    assert source["written_at"] == first["normalize.result"]["written_at"]
    result = {"company_id", "written_at", "domain", "short_name", "legal_form"}
    assert second["normalize.result"].keys() == result


def test_export_goes_to_stdout_while_the_batch_still_runs(tracer: Terminal, file: str) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    rows = list(csv.DictReader(io.StringIO(tracer("export", "b"))))
    assert [row["normalize.status"] for row in rows] == ["PENDING", "PENDING"]
    assert [row["step_a.status"] for row in rows] == ["", ""]


def exported(tracer: Terminal, path: Path) -> list[dict[str, str]]:
    """The rows of batch `b`, read as a program does."""
    tracer("export", "b", "-o", str(path))
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def test_columns_of_one_name_are_all_kept(tracer: Terminal, tmp_path: Path) -> None:
    seed = tmp_path / "seed.csv"
    seed.write_text("domain,key,normalize.status,normalize.domain\na.com,A,old,older\n")
    tracer("seed", str(seed), "--blueprint", "normalize", "--key", "domain", "--name", "b")
    (row,) = exported(tracer, tmp_path / "out.csv")
    assert (row["key"], row["key_2"], row["domain"]) == ("a.com", "A", "a.com")
    assert (row["normalize.status"], row["normalize.status_2"]) == ("PENDING", "old")
    assert (row["normalize.domain"], row["normalize.domain_2"]) == ("", "older")
    tracer("export", "b", "--format", "parquet", "-o", str(tmp_path / "out.parquet"))
    (same,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert {name: value or "" for name, value in same.items()} == row


def test_what_is_exported_can_be_seeded_and_exported_again(
    tracer: Terminal, tmp_path: Path
) -> None:
    seed, out = tmp_path / "seed.csv", tmp_path / "out.csv"
    notes = ["a\rb", "a\r\nb", "a\nb", 'a "b", c', " a "]
    with seed.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["domain", "note"], *([f"{i}.com", n] for i, n in enumerate(notes))]
        )
    tracer("seed", str(seed), "--blueprint", "normalize", "--name", "b")
    first = exported(tracer, out)
    tracer("cancel", "b", "--yes")
    assert [row["note"].strip() for row in first] == [note.strip() for note in notes]
    tracer("seed", str(out), "--blueprint", "normalize", "--name", "again")
    tracer("export", "again", "-o", str(out))
    with out.open(newline="") as lines:
        again = list(csv.DictReader(lines, strict=True))
    assert [row["note"] for row in again] == [row["note"] for row in first]


def test_two_that_write_to_one_path_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with opened(path) as slow:
        slow.write(b"one ")
        with opened(path) as quick:
            quick.write(b"two")
        assert path.read_bytes() == b"two"
        slow.write(b"whole")
    assert path.read_bytes() == b"one whole"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_when_it_fails_and_keeps_its_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "out", tmp_path / "link"
    path.write_text("before")
    path.chmod(0o600)
    link.symlink_to(path)
    with pytest.raises(ZeroDivisionError), opened(link):
        raise ZeroDivisionError
    assert path.read_text() == "before"
    with opened(link) as file:
        file.write(b"after")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("after", 0o600)
    assert link.is_symlink()
    assert {*tmp_path.iterdir()} == {path, link}


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    came: list[bytes] = []
    reader = threading.Thread(target=lambda: came.append(path.read_bytes()))
    reader.start()
    with opened(path) as file:
        file.write(b"rows")
    reader.join(timeout=5)
    assert (came, path.is_fifo()) == ([b"rows"], True)


def test_a_directory_is_no_place_for_a_file(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path, tmp_path / "missing" / "out", loop):
        with pytest.raises(BadInput, match="Cannot write"), opened(path):
            raise AssertionError("it was opened")


def test_a_dash_is_stdout(
    tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seed = tmp_path / "seed.csv"
    seed.write_text("domain\na.com\n")
    tracer("seed", str(seed), "--blueprint", "normalize", "--name", "b")
    assert tracer("export", "b", "-o", "-").splitlines()[1].startswith("a.com,a.com,PENDING")
    assert list(tmp_path.iterdir()) == [seed]
