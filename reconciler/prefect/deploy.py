"""`python -P -m reconciler.prefect.deploy`: Prefect's own `prefect deploy`, on Tracer's flow."""

import sys

from prefect.cli import app

import reconciler.flow  # noqa: F401 - Prefect would look in the working directory for it first
from reconciler.prefect.schedule import PREFECT_FILE

if __name__ == "__main__":
    sys.argv[1:] = ["--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)]
    app()
