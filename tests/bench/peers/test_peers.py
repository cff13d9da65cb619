"""What the comparison says follows from its runs, and no run with wrong results is one."""

from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from tests.bench.peers.__main__ import arguments
from tests.bench.peers.measuring import RESULTS, WARM_UP, Run, Stage, Work, checked
from tests.bench.peers.programs import Broken, Call
from tests.bench.peers.report import Tried, report
from tests.bench.peers.systems import SYSTEMS

RUN = Run(6000, 1.0, 0.5, 0.7, 0, 0.1)
TOOK = Work(0.5, 1.0, datetime(2026, 1, 1, tzinfo=UTC))
INSERT = """
INSERT INTO bench_results (company_id, step, at)
SELECT %(warm_up)s + company, step, timestamptz '2026-01-01' + step * interval '1 s'
FROM generate_series(1, 2) company, generate_series(1, 3) step
"""


def tried(name: str, *seconds: float) -> Tried:
    """A system with runs that took that long."""
    system = next(system for system in SYSTEMS if system.name == name)
    return Tried(system, system.settings[0], [replace(RUN, seconds=s) for s in seconds])


def test_ratios_are_taken_within_each_round() -> None:
    slow_second_round = [tried("tracer", 1, 3, 1), tried("pgqueuer", 10, 30, 10)]
    found = report(2000, {}, [*slow_second_round, tried("pgqueuer-company", 4, 12, 5)])
    assert found["times_as_fast"] == {
        "pgqueuer": 10,
        "pgqueuer-company": 4,
        "best_like_for_like": 10,
        "best_of_all": 4,
    }


def test_the_best_of_the_settings_is_kept() -> None:
    found = report(2000, {}, [tried("dbos", 9), tried("dbos", 6), tried("dbos", 8)])
    assert found["systems"]["dbos"]["company_steps_per_s"] == 1000
    assert found["systems"]["dbos"]["company_steps_per_s_with_enqueuing"] == pytest.approx(923.1)
    assert "times_as_fast" not in found


def test_systems_are_chosen_by_name() -> None:
    assert arguments(["--only", "dbos", "--only", "tracer"]).only == ["dbos", "tracer"]
    with pytest.raises(SystemExit):
        arguments(["--only", "celery"])


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM bench_results WHERE step = 2 AND company_id = 101",
        "UPDATE bench_results SET at = now() WHERE step = 2 AND company_id = 101",
        "INSERT INTO bench_results (company_id, step) VALUES (101, 4)",
        "DELETE FROM bench_results WHERE company_id = 101",
    ],
)
def test_wrong_results_are_no_run(url: str, damage: str) -> None:
    with psycopg.connect(url) as observer:
        stage = Stage(Call.of((), url, {}, None), observer, ())  # type: ignore[arg-type]
        observer.execute(RESULTS)
        observer.execute(INSERT, {"warm_up": WARM_UP})
        assert checked(stage, TOOK, 2, 0.6) == Run(6, 1.0, 0.5, 3.0, 0, 100)
        observer.execute(damage.encode())
        with pytest.raises(Broken):
            checked(stage, TOOK, 2, None)
