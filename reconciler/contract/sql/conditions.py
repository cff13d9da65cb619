"""Conditions that statements repeat; those of partial indexes word for word, or none is used."""

from reconciler.contract.column_types import listed
from reconciler.contract.states import ADVANCING, Status

# Rows that have ended, and whose next step is not seeded yet.
TO_ADVANCE = f"""status IN ({listed(ADVANCING)}) AND NOT advanced"""

# Rows with an error that somebody may want to fix. A row that found nothing, or was skipped, is
# well; its text says why. In a batch there may be a million of these.
AT_FAULT = f"""error IS NOT NULL
    AND status NOT IN ({listed((Status.NOT_FOUND, Status.SKIPPED, Status.CANCELLED))})"""

# Nothing has found the step at fault for every company. {step} is SQL for its name.
NOT_HELD = "(SELECT true FROM holds h WHERE h.step_name = {step}) IS NULL"

# Rows that a worker host has which is gone, with all its processes, or a process that is.
ORPHANED = """lease_expires_at IS NOT NULL
    AND ((holder LIKE %(family)s AND split_part(holder, '.', 1) <> ALL(%(alive)s))
        OR holder = ANY(%(gone)s))"""
