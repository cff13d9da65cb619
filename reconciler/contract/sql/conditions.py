"""The conditions of partial indexes that statements repeat: word for word, or no index is used."""

from reconciler.contract.column_types import listed
from reconciler.contract.states import ADVANCING, Status

# Rows that have ended, and whose next step is not seeded yet.
TO_ADVANCE = f"""status IN ({listed(ADVANCING)}) AND NOT advanced"""

# Rows with an error that somebody may want to fix. A row that found nothing, or was skipped, is
# well; its text says why. In a batch there may be a million of these.
AT_FAULT = f"""error IS NOT NULL
    AND status NOT IN ({listed((Status.NOT_FOUND, Status.SKIPPED, Status.CANCELLED))})"""
