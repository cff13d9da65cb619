"""`tracer workers`: the local worker host, in this terminal."""

import logging
import os

from reconciler.contract.settings import load_settings
from reconciler.local.python import child_environment
from reconciler.operator.connect import database_url
from workers.host.server import log_from, serve


def workers() -> None:
    """Run the local worker host here, until Ctrl-C.

    `tracer up`, `demo` and `reconcile` start one by themselves; this is for a loop that runs
    elsewhere, such as in Prefect Cloud.
    """
    settings = load_settings()
    os.environ |= child_environment(settings, database_url(settings))
    log_from(logging.INFO)
    serve()
