"""The exit code of a batch that has ended: 1 if rows of it have failed, or it was cancelled."""

from shlex import quote
from typing import Any

from reconciler.contract.errors import WorkFailed
from reconciler.contract.states import BatchStatus
from reconciler.operator.wording import plural


def require_success(progress: dict[str, Any]) -> None:
    """Do nothing if the batch has ended well; `progress` is the document of `inspect --json`.

    Raises:
        WorkFailed: the batch was cancelled, or has failed rows.
    """
    name, failed = progress["batch"], sum(step["FAILED"] for step in progress["steps"])
    if progress["status"] == BatchStatus.CANCELLED:
        raise WorkFailed(f"Batch {name!r} was cancelled.")
    if failed:
        says = f"Batch {name!r}: {plural(failed, 'row has', 'rows have')} failed. To see why"
        raise WorkFailed(says, f"tracer inspect {quote(name)}")
