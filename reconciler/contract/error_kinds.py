"""Why a row has an error: a code, on which programs decide. The error's text is only for people."""

from enum import StrEnum


class ErrorKind(StrEnum):
    """`workflow_states.error_kind` and `attempts.error_kind`; null if there is no text."""

    # Written by the conductor.
    SPAWN_REFUSED = "spawn_refused"  # released: the spawner did not take the call
    SPAWN_UNKNOWN = "spawn_unknown"  # still QUEUED: the spawner gave no answer
    NOT_BEGUN = "not_begun"  # no worker began it before its start deadline
    WORKER_SILENT = "worker_silent"  # its worker died, or fell silent, while working it alone
    SHARED_WORKER = "shared_worker"  # so did one that it shared with others
    MAY_BE_CHARGED = "may_be_charged"  # a call's answer is not known, and it cannot be repeated
    # Written by workers.
    RAISED = "raised"  # the step raised an error of its own
    PERMANENT = "permanent"  # the step raised PermanentError
    RETRY_AFTER = "retry_after"  # the step raised RetryAfter
    TIMED_OUT = "timed_out"  # the step took longer than its time-out
    WRONG_RESULT = "wrong_result"  # the step returned something that is not a row of its table
    NOT_WRITTEN = "not_written"  # the database refused the result
    NOT_FOUND = "not_found"  # the step raised NotFound
    STOPPED = "stopped"  # the worker was told to end before the step was done
    INPUT_MISSING = "input_missing"  # what the step needs of an earlier step is not there


NOT_SPAWNED = (ErrorKind.SPAWN_REFUSED, ErrorKind.SPAWN_UNKNOWN)
