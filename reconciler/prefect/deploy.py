"""`python -P -m reconciler.prefect.deploy`: runs Prefect's `prefect deploy` for Tracer's flow."""

import sys

from prefect.cli import app

import reconciler.flow  # noqa: F401 - otherwise Prefect searches the working directory first
from reconciler.prefect.schedule import PREFECT_FILE

if __name__ == "__main__":
    sys.argv[1:] = ["--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)]
    app()
