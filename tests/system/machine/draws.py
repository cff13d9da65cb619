"""What is drawn: few companies, few calls, few settings, so that things meet."""

from datetime import timedelta

from hypothesis import strategies as st

from reconciler.spawners.protocol import Outcome, Refused, Spawned, Unanswered, Unknown

KEYS = "abcd"
SHORT, LONG = [["normalize"], ["normalize", "step_a"]], ["step_a", "normalize", "step_b"]
WATERFALL = {"first": ["normalize", "step_a"]}
blueprints = st.sampled_from([*SHORT, *SHORT, LONG, [WATERFALL, "step_b"], ["step_b", WATERFALL]])
companies = st.sets(st.sampled_from(KEYS), min_size=2, max_size=4).map(sorted)
priorities = st.integers(0, 1)
steps = st.sampled_from(["normalize", "step_a"])
sides = st.integers(0, 1)
which = st.integers(0, 4)  # 0 is the newest
late = st.sampled_from([0, 30]).map(lambda s: timedelta(seconds=s))
endings = st.sampled_from(["at once", "later", "at once", "later", "rolled back"])
ids = st.sets(st.integers(1, 5), min_size=1).map(sorted)  # some are nobody's
few = st.integers(1, 3)
tunings = st.sampled_from(
    [
        {"enabled": False},
        {"enabled": True, "max_in_flight": 2, "chunk_size": 3},
        {"max_in_flight": 1},
        {"max_attempts": 1, "chunk_size": 1},
    ]
)
ANSWERS: list[Outcome | Unanswered] = [
    Spawned("fc-1"),
    Spawned("fc-2"),
    Refused("full"),
    Unknown("no answer"),
    Unanswered(),
]
answers = st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3)
plantings = st.lists(st.tuples(companies, blueprints, priorities), min_size=1, max_size=2)
sweeps = st.sampled_from(["advance", "advance", "reap", "finish", "give_back"])
dispatches = st.sampled_from(["release", "record_calls", "note_unknown"])
reports = st.sampled_from(
    [
        *("complete", "complete with nothing", "fail", "fail for good", "miss", "skip"),
        *("heartbeat", "hand_back"),
    ]
)
steerings = st.sampled_from(["retry", "cancel", "cancel", "pause", "priority", "retry a step"])
# How far things are at first, and what is then done in a transaction that stays open.
STARTS = [
    ("seeded", ""),
    ("seeded", "claim"),
    ("seeded", "claim"),
    ("claimed", ""),
    ("claimed", "cancel"),
    ("begun", "complete"),
    ("begun", "heartbeat"),
    ("completed", "advance"),
    ("completed", "advance"),
    ("completed", "cancel"),
    ("missed", "advance"),
    ("missed", "cancel"),
    ("failed", "retry"),
    ("failed", "finish"),
    ("failed", "cancel"),
    ("claimed again", ""),
    ("begun again", ""),
    ("begun again", ""),
]
starts = st.sampled_from(STARTS)
