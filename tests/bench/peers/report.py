"""From runs to the JSON document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.peers.measuring import STEPS, Run
from tests.bench.peers.systems import Settings, System

OURS = "tracer"


@dataclass(frozen=True)
class Tried:
    """A system with one of its settings, and its run of every round."""

    system: System
    settings: Settings
    runs: list[Run]

    @property
    def per_s(self) -> float:
        """Company-steps a second, in the middle of the rounds."""
        return median(run.per_s for run in self.runs)


def report(companies: int, postgres: Mapping[str, str], tried: Sequence[Tried]) -> dict[str, Any]:
    """The whole document; of settings that were tried, the best of each system is kept.

    `times_as_fast` says how many times as fast as each of its peers Tracer is, and as the best.
    """
    best: dict[str, Tried] = {}
    for one in tried:
        before = best.get(one.system.name)
        best[one.system.name] = max(before, one, key=lambda t: t.per_s) if before else one
    found: dict[str, Any] = {
        "companies": companies,
        "steps": STEPS,
        "postgres": dict(postgres),
        "systems": {name: figures(one) for name, one in best.items()},
    }
    if ours := best.pop(OURS, None):
        ratios = {name: ratio(ours.runs, peer.runs) for name, peer in best.items()}
        like = [ratios[name] for name, peer in best.items() if peer.system.like_for_like]
        found["times_as_fast"] = {
            **ratios,
            "best_like_for_like": min(like, default=None),
            "best_of_all": min(ratios.values(), default=None),
        }
    return found


def ratio(ours: Sequence[Run], theirs: Sequence[Run]) -> float:
    """Of each round, then the one in the middle: what slows a whole round slows both."""
    pairs = zip(ours, theirs, strict=True)
    return round(median(our.per_s / their.per_s for our, their in pairs), 2)


def figures(tried: Tried) -> dict[str, Any]:
    """One system's, each in the middle of the rounds."""

    def middle(values: Sequence[float], digits: int) -> float:
        return round(median(values), digits)

    runs = tried.runs
    cpu = [run.cpu_ms for run in runs if run.cpu_ms is not None]
    return {
        "company_steps_per_s": middle([run.per_s for run in runs], 1),
        "seconds": middle([run.seconds for run in runs], 2),
        "enqueue_s": middle([run.enqueue_s for run in runs], 2),
        "company_steps_per_s_with_enqueuing": middle([r.per_s_with_enqueuing for r in runs], 1),
        "median_company_s": middle([run.median_company_s for run in runs], 2),
        "cpu_ms_per_company_step": middle(cpu, 3) if cpu else None,
        "results": runs[0].rows,
        "written_again": sum(run.written_again for run in runs),
        "rounds": [round(run.per_s, 1) for run in runs],
        "settings": dict(tried.settings),
    }
