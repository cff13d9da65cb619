"""What the pages on steps show is a project: its tests pass, and its steps work."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cli.init.command import PROJECT
from cli.main import run
from reconciler.contract import secrets
from reconciler.contract.results import StepResult
from tests.test_docs import blocks
from workers.resources import OPENERS
from workers.runtime.loading import load_steps

COMPANIES = "name,domain\nAcme Inc.,acme.com\nNobody,nobody.com\n"
KEY = "key-of-a-test"
PAGES = ("docs/adding-a-step.md", "docs/paying.md")


class Api(BaseHTTPRequestHandler):
    """The APIs that the pages' steps ask. They know Acme; of Nobody they know nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/v1/"):
            assert self.headers["Authorization"] == f"Bearer {KEY}"
            self.answer(200, {"founded": 1947} if "acme.com" in self.path else {})
        elif self.path.startswith("/firmographics") and "acme.com" in self.path:
            assert self.headers["Authorization"] == f"Bearer {KEY}"
            assert self.headers["Idempotency-Key"]
            self.answer(200, {"industry": "anvils", "employees": 120})
        elif "acme.com" in self.path:
            self.answer(200, {"employees": 120})
        else:
            self.answer(404, None)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/credit":
            assert self.headers["X-Request-Id"]
            self.answer(200, {"rating": "AA"})
            return
        self.answer(200, [{"domain": name, "monthly": 7} for name in asked if name == "acme.com"])

    def answer(self, status: int, body: Any) -> None:
        written = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """The URL of the APIs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def project(api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `tracer init` writes, and each file that the pages show, which asks the APIs here.

    What is imported of it is forgotten after.
    """
    folder = shutil.copytree(PROJECT, tmp_path_factory.mktemp("docs") / "leads")
    for code in (code for page in PAGES for code in blocks(page, "python")):
        first, _, text = code.partition("\n")
        for name in ("api", "visits", "registry", "paid"):
            text = text.replace(f"https://{name}.example.com", api)
        (folder / first.removeprefix("# ")).write_text(text)
    (folder / "companies.csv").write_text(COMPANIES)
    tables, openers = set(StepResult.metadata.tables), dict(OPENERS)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "enrich"]:
        del sys.modules[name]
    for name in set(StepResult.metadata.tables) - tables:
        StepResult.metadata.remove(StepResult.metadata.tables[name])
    OPENERS.clear()
    OPENERS.update(openers)


@pytest.fixture
def _inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the project, without a database."""
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(secrets, "_read", set())
    monkeypatch.setenv("TRACER_STEPS", "workers.steps,enrich.steps")
    monkeypatch.setenv("REGISTRY_KEY", KEY)
    monkeypatch.setenv("ACME_KEY", KEY)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_the_tests_that_the_page_shows_pass(project: Path) -> None:
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout


@pytest.mark.usefixtures("_inside")
@pytest.mark.parametrize(
    ("step", "result", "of_nobody"),
    [
        ("headcount", {"employees": 120}, "NOT_FOUND"),
        ("careers", {"page": "https://acme.com/careers", "large": False}, "COMPLETED"),
        ("visits", {"monthly": 7}, "NOT_FOUND"),
        ("founded", {"year": 1947}, "NOT_FOUND"),
        ("firmographics", {"industry": "anvils", "employees": 120}, "NOT_FOUND"),
        ("credit", {"rating": "AA"}, "COMPLETED"),
        ("summary", {"text": "Acme Inc. makes things."}, "COMPLETED"),
    ],
)
def test_the_steps_that_the_page_shows_work(
    capsys: pytest.CaptureFixture[str], step: str, result: dict[str, Any], of_nobody: str
) -> None:
    assert run(["try", step, "companies.csv", "--json"]) == 0
    acme, nobody = json.loads(capsys.readouterr().out)
    assert (acme["status"], acme["result"]) == ("COMPLETED", result)
    assert nobody["status"] == of_nobody


@pytest.mark.usefixtures("_inside")
def test_the_step_that_computes_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["try", "fingerprint", "companies.csv", "--limit", "1", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert len(only["result"]["digest"]) == 64


@pytest.mark.usefixtures("_inside")
def test_the_settings_are_those_that_the_page_says() -> None:
    steps = load_steps()
    assert (steps["headcount"].timeout_s, steps["headcount"].concurrency) == (30, 200)
    assert (steps["visits"].calls_at_once, steps["visits"].settings) == (4, {"chunk_size": 100})
    assert [made.name for made in steps.values() if made.cpu] == ["fingerprint"]
