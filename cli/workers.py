"""`tracer workers`: run the local worker host in this terminal."""

import logging
import os

from reconciler.contract.settings import load_settings
from reconciler.local.python import child_environment
from reconciler.operator.connect import database_url
from workers.host.server import log_from, serve


def workers() -> None:
    """Run the local worker host until Ctrl-C, for a loop that runs elsewhere (Prefect Cloud).

    `tracer up`, `demo` and `reconcile` start a worker host by themselves.
    """
    settings = load_settings()
    os.environ |= child_environment(settings, database_url(settings))
    log_from(logging.INFO)
    serve()
