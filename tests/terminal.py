"""A terminal for the tests of the command line, and the file that they seed."""

import json
from functools import cache
from typing import Any

import pytest
import typer.main

from cli.main import run

# To build all commands from their functions takes 10 ms of CPU, and they are the same each time.
typer.main.get_command = cache(typer.main.get_command)

HEADER = "Security,Company Website Full,CIK\n"
FILE = HEADER + "3M,https://www.3m.com/,66740\nApple Inc.,apple.com,320193\n"
SEED = ("--blueprint", "normalize,step_a", "--map", "name=Security", "--key", "CIK")


class Terminal:
    """Runs command lines as a user would, on the test's own database."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self.out = self.err = ""

    def run(self, *arguments: str) -> int:
        """The exit code; what was said is in `out` and `err`, and is no traceback."""
        code = run(arguments)
        self.out, self.err = self._capture.readouterr()
        assert "Traceback" not in self.err
        return code

    def __call__(self, *arguments: str, code: int = 0) -> str:
        found = self.run(*arguments)
        assert found == code, self.err
        return self.out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))
