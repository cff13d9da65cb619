"""A batch with a past: an hour of work on three steps, failures of several kinds, retries."""

from typing import Any

from reconciler.contract.database import Database

SCRIPT = "<script>document.title=name</script><img src=x onerror=document.title=name> & </script>"

# Company n of N is worked in the n-th part of the hour. Of every 20, one is FAILED at the second
# step, after three attempts; of every 10, one needed two attempts at the first step. Steps a and b
# buy: of every 4, one answer was there already; of every 10, one had no result and cost less.
PAST = """
INSERT INTO batches (name, blueprint, status, created_at, finished_at)
VALUES (%(name)s, '["normalize", "step_a", "step_b"]', 'FINISHED',
    now() - interval '1 hour', now());
INSERT INTO companies (key) SELECT %(name)s || '-' || n FROM generate_series(1, %(companies)s) n;
INSERT INTO batch_companies
SELECT b.id, c.id FROM batches b, companies c
WHERE b.name = %(name)s AND c.key LIKE %(name)s || '-%%';
CREATE TEMP TABLE way ON COMMIT DROP AS
SELECT b.id AS batch_id, m.company_id, s.step, (s.number - 1)::int AS position,
    m.n, b.created_at + interval '1 hour' * (m.n * 0.9 / %(companies)s + s.number * 0.03) AS at,
    (s.number * 0.4 * (1 + (m.n * 7919 %% 1000) / 200.0))::float8 AS work_s,
    m.n %% 20 = 0 AND s.number = 2 AS failed,
    CASE WHEN m.n %% 20 = 0 AND s.number = 2 THEN 3 WHEN m.n %% 10 = 1 AND s.number = 1 THEN 2
        ELSE 1 END AS attempt
FROM batches b
JOIN (SELECT *, row_number() OVER (PARTITION BY batch_id ORDER BY company_id) AS n
      FROM batch_companies) m ON m.batch_id = b.id
CROSS JOIN LATERAL jsonb_array_elements_text(b.blueprint) WITH ORDINALITY AS s (step, number)
WHERE b.name = %(name)s AND NOT (m.n %% 20 = 0 AND s.number = 3);
INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt, advanced,
    error, error_kind, created_at, queued_at, started_at, finished_at)
SELECT company_id, step, batch_id, position, CASE WHEN failed THEN 'FAILED' ELSE 'COMPLETED' END,
    attempt, NOT failed, CASE WHEN failed THEN %(script)s END,
    CASE WHEN failed THEN 'raised' END, at, at,
    at + interval '0.2 s' + interval '0.001 s' * (n %% 1000),
    at + interval '0.2 s' + interval '0.001 s' * (n %% 1000) + interval '1 s' * work_s
FROM way;
INSERT INTO attempts (company_id, step_name, batch_id, attempt, queued_at, started_at, ended_at,
    error, error_kind)
SELECT company_id, step, batch_id, a, at, at, at,
    CASE WHEN failed THEN 'HTTPStatusError: 429 for company ' || company_id
    ELSE 'TimeoutError: no answer after ' || (n %% 7) || '.5 s' END, 'raised'
FROM way CROSS JOIN generate_series(1, attempt - 1) a;
INSERT INTO progress (batch_id, position, at, arrived, completed)
SELECT batch_id, position, date_trunc('minute', at + interval '1 s' * work_s), count(*),
    count(*) FILTER (WHERE NOT failed)
FROM way GROUP BY 1, 2, 3;
CREATE TEMP TABLE bought ON COMMIT DROP AS
SELECT *, position * 0.5 AS price, n %% 10 <> 1 AS found, n %% 4 = 0 AS reused,
    CASE WHEN n %% 10 = 1 THEN 0.1 ELSE position * 0.5 END AS charged
FROM way WHERE position > 0 AND NOT failed;
INSERT INTO orders (company_id, step_name, batch_id, provider, price, made_at, sent_at, tries,
    known, answered_at, found, charged, settled, settled_at)
SELECT company_id, step, batch_id, 'acme', price, at, at, 1, 1, at, found, charged, charged, at
FROM bought WHERE NOT reused;
INSERT INTO spend (day, batch, step_name, provider, bought, hits, reused, charged)
SELECT (at AT TIME ZONE 'UTC')::date, %(name)s, step, 'acme', count(*) FILTER (WHERE NOT reused),
    count(*) FILTER (WHERE found AND NOT reused), count(*) FILTER (WHERE reused),
    sum(charged) FILTER (WHERE NOT reused)
FROM bought GROUP BY 1, 3;
"""


def make_past(database: Database, name: str, companies: int) -> None:
    """Write such a batch, with ends of names that SQL and HTML could trip over."""
    values: dict[str, Any] = {"name": name, "companies": companies, "script": SCRIPT}
    with database.transaction() as connection:
        for statement in PAST.split(";\n"):
            if statement.strip():
                connection.execute(statement.encode(), values)
