"""`tracer init` writes over nothing; what it writes is used in tests/system/test_wheel.py."""

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
