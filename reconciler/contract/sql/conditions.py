"""Conditions that statements repeat; those of partial indexes word for word, or none is used."""

from reconciler.contract.column_types import listed
from reconciler.contract.states import ADVANCING, Status

# Rows that have ended, and whose company goes on: a FAILED one only within a waterfall.
GOES_ON = f"""status IN ({listed(ADVANCING)}) OR status = 'FAILED' AND in_waterfall"""
# Of these, those whose next step is not seeded yet.
TO_ADVANCE = f"""({GOES_ON}) AND NOT advanced"""

# Of a batch `b`: whether the step at a place is a member of a waterfall; and where the company of
# {row}, which has ended, goes on.
IN_WATERFALL = "(b.past ->> {place}) IS NOT NULL"
NEXT_PLACE = """CASE WHEN {row}.status = 'COMPLETED'
    THEN coalesce((b.past ->> {row}.position)::int, {row}.position + 1)
    ELSE {row}.position + 1 END"""

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

# A step whose rows get orders; {r} is its row of the registry.
HAS_ORDERS = "({r}.provider IS NOT NULL OR {r}.price > 0 OR {r}.fresh_for_s IS NOT NULL)"
# Of orders. LIVE: the right to pay, or what it bought, still counts. OPEN: no answer is there yet.
LIVE = "void_at IS NULL AND superseded_at IS NULL"
OPEN = f"answered_at IS NULL AND {LIVE}"
LEFT_OPEN = f"{OPEN} AND unknown_at IS NULL"
UNKNOWN = f"{OPEN} AND unknown_at IS NOT NULL"
# Whether an order `o` has an answer that may be used again for its company `c`: it is young enough,
# and the company has not changed since. {now} and {fresh_for_s} are SQL.
FRESH = """((o.answered_at + make_interval(secs => {fresh_for_s}) > {now}) IS TRUE
    AND (c.changed_at > o.made_at) IS NOT TRUE)"""
# SURE: of all its calls it is known what came. The others may have been charged.
SURE = "tries = known"
# AT_DOOR: a call of the order `o` has no answer. DOOR_UNTIL: how long its provider may have it; `r`
# is its step's row of the registry.
AT_DOOR = "o.answered_at IS NULL AND o.tries > o.known"
DOOR_UNTIL = "(o.sent_at + make_interval(secs => r.timeout_s))"
# What an order costs, as far as that is decided: null while it is open.
COST = """CASE WHEN void_at IS NULL AND answered_at IS NULL AND unknown_at IS NOT NULL
    THEN greatest(price, charged) WHEN charged IS NOT NULL THEN charged
    WHEN void_at IS NOT NULL THEN 0 END"""
# Nothing is reserved for it any more.
DECIDED = "(answered_at IS NOT NULL OR void_at IS NOT NULL OR unknown_at IS NOT NULL)"
# It was booked as unknown, and is known now.
_FOUND_OUT = "unknown_at IS NOT NULL AND (answered_at IS NOT NULL OR void_at IS NOT NULL)"
TO_SETTLE = f"({COST} IS DISTINCT FROM settled OR {DECIDED} AND settled_at IS NULL OR {_FOUND_OUT})"
