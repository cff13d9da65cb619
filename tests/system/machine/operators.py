"""The operators' rules, and those of time."""

from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from psycopg.types.json import Jsonb

from reconciler.operator import steering
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.steering import Selection
from tests.system.machine.doing import Machine, newest, of_batch
from tests.system.machine.draws import (
    blueprints,
    companies,
    endings,
    ids,
    priorities,
    sides,
    steerings,
    steps,
    tunings,
    which,
)

BATCHES = 3  # at most
# As a seeding leaves it, which itself costs 19 ms.
PLANT = """
WITH known AS (
    INSERT INTO companies (key, name) SELECT key, key FROM unnest(%(keys)s::text[]) key ORDER BY key
    ON CONFLICT (key) DO UPDATE SET name = excluded.name RETURNING id
), batch AS (
    INSERT INTO batches (name, blueprint, priority) VALUES (%(name)s, %(blueprint)s, %(priority)s)
    RETURNING id, steps, past
), members AS (
    INSERT INTO batch_companies (batch_id, company_id) SELECT b.id, k.id FROM batch b, known k
), logged AS (
    INSERT INTO progress (batch_id, position, at, arrived)
    SELECT b.id, 0, now(), count(*) FROM batch b, known k GROUP BY b.id
)
INSERT INTO workflow_states (company_id, step_name, batch_id, position, in_waterfall)
SELECT k.id, b.steps ->> 0, b.id, 0, (b.past ->> 0) IS NOT NULL FROM batch b, known k
"""
EXPIRE = """
UPDATE workflow_states SET lease_expires_at = clock_timestamp() - interval '1 second'
WHERE ctid = ANY(ARRAY(SELECT ctid FROM workflow_states
    WHERE status IN ('QUEUED', 'IN_PROGRESS') AND company_id = ANY(%(ids)s) FOR UPDATE SKIP LOCKED))
"""


class Operators(Machine):
    def plant(self, batches: list[tuple[list[str], list[str], int]]) -> None:
        for keys, blueprint, priority in batches:
            self.planted += 1
            about = {"blueprint": Jsonb(blueprint), "priority": priority}
            self.sides.eyes.rows(PLANT, name=f"b{self.planted}", keys=keys, **about)
        self.look(("seed",))

    @precondition(lambda self: self.planted < BATCHES)
    @rule(by=sides, keys=companies, blueprint=blueprints, priority=priorities, ending=endings)
    def seed(
        self, by: int, keys: list[str], blueprint: list[str], priority: int, ending: str
    ) -> None:
        self.planted += 1
        rows = [(n, key, key, None, {}) for n, key in enumerate(keys)]
        operator, name = self.sides.operators[by], f"b{self.planted}"
        about = {"name": name, "blueprint": blueprint, "columns": [], "priority": priority}
        self.do(
            operator,
            ("seed",),
            lambda: seed_batch(operator, rows, **about),
            may=lambda _, old: old is None,
            ending=ending,
        )

    @rule(by=sides, batch=which, verb=steerings, ending=endings)
    def steer(self, by: int, batch: int, verb: str, ending: str) -> None:
        operator, view = self.sides.operators[by], self.batch(batch)
        acts = {
            "cancel": (steering.cancel, view),
            "pause": (steering.pause, view, not view.paused),
            "priority": (steering.set_priority, view, 1 - view.priority),
            "retry": (steering.retry, view),
            "retry a step": (steering.retry, view, Selection("normalize")),
        }
        act = partial(self.told, operator, *acts[verb])
        self.do(operator, (verb.split()[0],), act, may=of_batch(view), ending=ending)

    @rule(by=sides, step=steps, tuning=tunings, ending=endings)
    def tune(self, by: int, step: str, tuning: dict[str, int], ending: str) -> None:
        operator = self.sides.operators[by]
        act = partial(operator.set_step, step, tuning)
        self.do(operator, ("tune",), act, ending=ending)


class Time(Machine):
    @rule(ids=st.none() | ids)
    def time_passes(self, ids: list[int] | None) -> None:
        """An hour for all, or only the leases of some companies."""
        expire = partial(self.sides.eyes.rows, EXPIRE, ids=ids)
        self.do(self.sides.eyes, ("time",), expire if ids else self.pass_an_hour)

    @rule(one=which)
    def end_transaction(self, one: int) -> None:
        if self.held:
            self.sound = False
            self.settle(newest(self.held, one))
            self.check()
