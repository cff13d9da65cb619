"""Settings come from the environment, and from `.env`; no value of either is shown."""

import os
from pathlib import Path

import pytest

from reconciler.contract.errors import BadInput
from reconciler.contract.settings import load_settings


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def test_the_environment_wins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("DATABASE_URL=postgresql://file\nTRACER_MODAL_APP=file\nOTHER=x\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://environment")
    monkeypatch.setenv("TRACER_MODAL_APP", "")  # as good as none
    found = load_settings()
    assert (found.database_url, found.modal_app) == ("postgresql://environment", "file")


def test_a_child_elsewhere_gets_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file.write_text("TRACER_STEPS=a.steps, b\nTRACER_WORKERS=modal\nDATABASE_URL=postgresql://x\n")
    given = load_settings()
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    home = {"home": file.parent / ".tracer"}
    assert load_settings().model_dump() == given.model_dump() | home


@pytest.mark.parametrize(
    "line",
    [
        "TRACER_WORKERS=secret",
        "TRACER_WORKER_PROCESSES=secret",
        "TRACER_SPAWN_TIMEOUT_S='secret'",
        "TRACER_WORKERS=modal secret",
    ],
)
def test_a_value_that_cannot_be_used_is_not_shown(file: Path, line: str) -> None:
    file.write_text(f"DATABASE_URL=postgresql://u:secret@h/d\n{line}\n")
    with pytest.raises(BadInput, match=line.partition("=")[0]) as caught:
        load_settings()
    assert "secret" not in str(caught.value)


def test_names_of_no_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER_STEPS", " ,")
    with pytest.raises(BadInput, match="TRACER_STEPS"):
        load_settings()


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"DATABASE_URL=\xff\n")
    with pytest.raises(BadInput, match=r"^\.env cannot be read: it is not UTF-8\.$"):
        load_settings()


def test_a_pipe_is_refused_and_not_waited_for(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(BadInput, match=r"^\.env is a named pipe\."):
        load_settings()


def test_a_folder_of_that_name_is_not_ours(file: Path) -> None:
    """Some call their virtual environment so."""
    file.mkdir()
    assert load_settings().workers == "local"
