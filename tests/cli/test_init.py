"""`tracer init` writes over nothing; what it writes is used in tests/system/test_wheel.py."""

import resource
from pathlib import Path

import pytest

from cli.main import run


@pytest.mark.parametrize("kept", [".env", "README.md", "enrich/steps/headcount.py"])
def test_a_file_that_is_there_is_named_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: str
) -> None:
    mine = tmp_path / kept
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    assert run(["init", str(tmp_path)]) == 2
    assert f"has {kept} already: nothing was written" in " ".join(capsys.readouterr().err.split())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(["init", str(tmp_path / "file")]) == 2
    assert "Cannot write" in capsys.readouterr().err


def test_what_fails_half_way_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tests").touch()  # it is to be a folder, and comes last
    assert run(["init", str(tmp_path)]) == 2
    said = "".join(capsys.readouterr().err.split())  # the path's length decides on the lines
    assert said.endswith("test_headcount.py:Notadirectory.Nothingwaswritten.")
    assert [path.name for path in tmp_path.rglob("*")] == ["tests"]


def test_a_disk_that_is_full_keeps_no_part_of_the_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit on the size of files is a disk that takes no more of them."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        code = run(["init", str(tmp_path / "leads")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2
    assert "File too large. Nothing was written." in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
