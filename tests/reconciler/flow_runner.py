"""Runs the flow as often as it is told, in a process of its own: importing Prefect takes seconds.

A line of JSON on stdin is one run: `environment` to set (null takes away), and `constants` of its
modules to change meanwhile. Its answer, a line on stdout, is what Prefect has of the run.
"""

import asyncio
import json
import os
import sys
from typing import Any
from unittest.mock import patch

from reconciler.flow import reconcile


def run(environment: dict[str, str | None], constants: dict[str, float]) -> dict[str, Any]:
    """Run the flow once."""
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    changes = [patch(place, value) for place, value in constants.items()]
    for change in changes:
        change.start()
    state: Any = asyncio.run(reconcile(return_state=True))  # type: ignore[call-overload]
    for change in changes:
        change.stop()
    run_id = str(state.state_details.flow_run_id)
    return {"id": run_id, "state": state.type, "says": state.message}


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(run(**json.loads(line)))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
