"""Each part, broken: how, where doctor finds it, its code, what it says, and what fixes it."""

from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.grants import OPERATOR, WORKER
from reconciler.operator.diagnosis.reason import Code
from tests.reconciler.operator.diagnosis.breaking import (
    Break,
    a_host_of_other_steps,
    a_silent_host,
    blueprint,
    column,
    env,
    lock,
    no_host,
    no_such_database,
    normalize,
    prefect,
    renamed,
    role,
    sql,
    stranger,
    ticked,
)

READ_ONLY = "ALTER DATABASE doctor SET default_transaction_read_only = on"
WRITABLE = "ALTER DATABASE doctor RESET default_transaction_read_only"
WITHDRAWN = "DELETE FROM enrichment_registry WHERE step_name = 'step_b'"
REGISTER = "INSERT INTO enrichment_registry (step_name, app_name, function_name)"
PUT_BACK = REGISTER + " VALUES ('{0}', 'tracer', '{0}')"
OLD = "UPDATE tracer_version SET version_num = '0001'"
NEW = f"UPDATE tracer_version SET version_num = '{SCHEMA_REVISION}'"
NEEDS_KEY = "UPDATE enrichment_registry SET env = '{NO_KEY}' WHERE step_name = 'step_b'"
NEEDS_NONE = "UPDATE enrichment_registry SET env = '{}'"
PAUSED = "UPDATE polling SET paused = {}"
SYNC, UPGRADE, RESUME = "tracer steps sync", "tracer db upgrade", "tracer interval resume"
NOBODY = "postgresql://127.0.0.1:9/tracer"
POOL = "prefect worker start --pool tracer --type process"
UNLIMIT_POOL = "prefect work-pool clear-concurrency-limit tracer"
UNLIMIT_QUEUE = "prefect work-queue clear-concurrency-limit default --pool tracer"
EVERY, DEPLOY = "tracer interval set --every 2m", "tracer prefect deploy"
LONG_AGO = "2026-01-02T03:04:05+00:00"
LIMIT_0 = "tracer steps set normalize max_in_flight=1000"
WORKER_URL = f"{WORKER} is the workers' role: it may neither tick nor "

BROKEN: dict[str, tuple[Break, str, Code, str, str]] = {
    "a setting": (
        env("TRACER_WORKERS", "x"),
        "settings",
        Code.SETTING_INVALID,
        "TRACER_WORKERS",
        "unset TRACER_WORKERS",
    ),
    "no database": (
        no_such_database,
        "database",
        Code.DATABASE_UNREACHABLE,
        '"gone" does not exist',
        "createdb gone",
    ),
    "nobody there": (
        env("DATABASE_URL", NOBODY),
        "database",
        Code.DATABASE_UNREACHABLE,
        "refused",
        "export DATABASE_URL=",
    ),
    "no URL": (
        env("DATABASE_URL", "x://h"),
        "database",
        Code.DATABASE_UNREACHABLE,
        "not a Postgres URL",
        "export DATABASE",
    ),
    "read only": (
        sql(READ_ONLY, WRITABLE),
        "database",
        Code.DATABASE_READ_ONLY,
        "takes no writes",
        "psql ",
    ),
    "a secret": (
        sql(NEEDS_KEY, NEEDS_NONE),
        "secrets",
        Code.SECRET_MISSING,
        "step_b needs NO_KEY, which is not set here: put it into .env",
        "",
    ),
    "no schema": (
        sql("ALTER SCHEMA public RENAME TO gone", "ALTER SCHEMA gone RENAME TO public"),
        "schema",
        Code.SCHEMA_MISSING,
        "no Tracer schema yet",
        UPGRADE,
    ),
    "a lost revision": (
        renamed("tracer_version"),
        "schema",
        Code.SCHEMA_DAMAGED,
        "`tracer_version` has lost the row",
        "psql ",
    ),
    "an old schema": (
        sql(OLD, NEW),
        "schema",
        Code.SCHEMA_BEHIND,
        "0001, and this Tracer needs ",
        UPGRADE,
    ),
    "a lost table": (
        renamed("throttles"),
        "schema",
        Code.SCHEMA_DAMAGED,
        "The database lacks throttles",
        "",
    ),
    "a lost view": (
        renamed("tracer_rows"),
        "schema",
        Code.SCHEMA_DAMAGED,
        "The database lacks tracer_rows",
        "",
    ),
    "a lost history of results": (
        renamed("results.superseded"),
        "tables",
        Code.SCHEMA_DAMAGED,
        "The database lacks results.superseded",
        "",
    ),
    "a lost column": (
        column("ticks", "claimed"),
        "schema",
        Code.SCHEMA_DAMAGED,
        "lacks ticks.claimed",
        "",
    ),
    "a grant": (
        role("", f"UPDATE (paused) ON batches FROM {OPERATOR}"),
        *("role", Code.ROLE_LACKS_GRANT, f"{OPERATOR} lacks UPDATE on batches", "tracer db roles"),
    ),
    "a grant of one's own": (
        role(OPERATOR, f"ALL ON batches FROM {OPERATOR}"),
        *("role", Code.ROLE_LACKS_GRANT, f"{OPERATOR} lacks DELETE on batches", "tracer db roles"),
    ),
    "a worker's grant": (
        role("", f"INSERT ON results.normalized FROM {WORKER}"),
        *(
            "role",
            Code.ROLE_LACKS_GRANT,
            f"{WORKER} lacks INSERT on results.normalized",
            "tracer db roles",
        ),
    ),
    "a worker's URL": (
        role(WORKER),
        "role",
        Code.ROLE_OF_WORKERS,
        WORKER_URL,
        "tracer db roles --urls roles.env",
    ),
    "a login of its own": (
        stranger("public", "results"),
        *("role", Code.ROLE_LACKS_GRANT, "ro lacks DELETE on ", "tracer db roles --urls roles.env"),
    ),
    "a login that sees half": (
        stranger("public"),
        *(
            "role",
            Code.ROLE_LACKS_GRANT,
            "ro: permission denied for schema results",
            "tracer db roles --urls roles.env",
        ),
    ),
    "a step": (
        sql(WITHDRAWN, PUT_BACK.format("step_b")),
        *("steps", Code.STEP_NOT_REGISTERED, "Not registered: step_b", SYNC),
    ),
    "a result": (
        renamed("results.step_b"),
        "tables",
        Code.RESULT_TABLE_MISSING,
        "lacks results.step_b",
        SYNC,
    ),
    "its column": (
        column("results.step_b", "greeting"),
        "tables",
        Code.RESULT_TABLE_MISSING,
        "step_b.greeting",
        SYNC,
    ),
    "a disabled step": (
        normalize("enabled = false"),
        "batches",
        Code.STEP_DISABLED,
        "normalize is disabled, and a running batch needs it",
        "tracer steps set normalize enabled=true",
    ),
    "a withdrawn step": (
        blueprint("withdrawn"),
        "batches",
        Code.STEP_NOT_REGISTERED,
        "withdrawn is not registered",
        SYNC,
    ),
    "no capacity": (
        normalize("max_in_flight = 0"),
        "batches",
        Code.CAPACITY_ZERO,
        "capacity of normalize is set to 0, and",
        LIMIT_0,
    ),
    "polling": (
        sql(PAUSED.format("true"), PAUSED.format("false")),
        *("loop", Code.POLLING_PAUSED, "Polling is paused", RESUME),
    ),
    "no tick": (ticked("NULL"), "loop", Code.NO_TICK, "No loop has ever ticked", RESUME),
    "no tick lately": (
        ticked("now() - interval '5 minutes'"),
        "loop",
        Code.NO_TICK,
        "(5 min 0",
        RESUME,
    ),
    "no intervals": (
        sql("DELETE FROM polling", "INSERT INTO polling DEFAULT VALUES"),
        *("loop", Code.POLLING_ROW_MISSING, "The table `polling` has lost the row", "psql "),
    ),
    "a lock": (
        lock("polling"),
        "loop",
        Code.TABLE_LOCKED,
        "polling is locked by Postgres's process ",
        "psql ",
    ),
    "no Prefect": (
        prefect(url="http://127.0.0.1:9/api"),
        "prefect",
        Code.PREFECT_UNREACHABLE,
        "No Prefect server answers at http://127.0.0.1:9/api",
        "prefect server start",
    ),
    "a schedule paused": (
        prefect(active=False),
        "prefect",
        Code.PREFECT_PAUSED,
        "Prefect's schedule is pau",
        RESUME,
    ),
    "no Prefect worker": (
        prefect(workers=0),
        "prefect",
        Code.PREFECT_NO_WORKER,
        "No Prefect worker polls",
        POOL,
    ),
    "no pool": (
        prefect(workers=None),
        "prefect",
        Code.PREFECT_NO_WORKER,
        "No Prefect worker polls",
        POOL,
    ),
    "a pool paused": (
        prefect(pool_paused=True),
        *(
            "prefect",
            Code.PREFECT_POOL_PAUSED,
            "Prefect's work pool is paused",
            "prefect work-pool resume tracer",
        ),
    ),
    "a pool that takes nothing": (
        prefect(pool_limit=0),
        *(
            "prefect",
            Code.PREFECT_POOL_FULL,
            "work pool has reached its concurrency limit",
            UNLIMIT_POOL,
        ),
    ),
    "a pool that is full": (
        prefect(pool_limit=1, next_run_at=LONG_AGO),
        *(
            "prefect",
            Code.PREFECT_POOL_FULL,
            "work pool has reached its concurrency limit",
            UNLIMIT_POOL,
        ),
    ),
    "a queue paused": (
        prefect(queue_paused=True),
        "prefect",
        Code.PREFECT_QUEUE_PAUSED,
        "Prefect's work queue is paused",
        "prefect work-queue resume default --pool tracer",
    ),
    "a queue that takes nothing": (
        prefect(queue_limit=0),
        *(
            "prefect",
            Code.PREFECT_QUEUE_FULL,
            "work queue has reached its concurrency limit",
            UNLIMIT_QUEUE,
        ),
    ),
    "no schedule": (
        prefect(scheduled=False),
        "prefect",
        Code.PREFECT_NO_INTERVAL,
        "has no interval schedule",
        EVERY,
    ),
    "cron's schedule": (
        prefect(cron="0 0 1 1 *"),
        "prefect",
        Code.PREFECT_NO_INTERVAL,
        "no interval schedule",
        EVERY,
    ),
    "another pool": (
        prefect(pool="other", workers=0),
        *(
            "prefect",
            Code.PREFECT_OTHER_POOL,
            "worker polls the work pool of Prefect's deployment",
            DEPLOY,
        ),
    ),
    "a pool that was deleted": (
        prefect(pool=None),
        *(
            "prefect",
            Code.PREFECT_OTHER_POOL,
            "worker polls the work pool of Prefect's deployment",
            DEPLOY,
        ),
    ),
    "a run that nobody starts": (
        prefect(next_run_at=LONG_AGO),
        *("prefect", Code.PREFECT_LATE, "Prefect's next run is late, by ", POOL),
    ),
    "a gap": (
        prefect(every_s=600),
        "window",
        Code.SCHEDULE_GAP,
        "A run starts every 10 min, and lasts 3 min",
        "tracer interval set --every 600s",
    ),
    "no host": (
        no_host,
        "workers",
        Code.NO_WORKER_HOST,
        "No worker host is running",
        "tracer workers",
    ),
    "a silent host": (
        a_silent_host,
        "workers",
        Code.WORKER_HOST_SILENT,
        "does not answer",
        "kill -9 ",
    ),
    "a host of other steps": (
        a_host_of_other_steps,
        *("workers", Code.WORKER_HOST_LACKS_STEP, "does not have the step normalize", "kill "),
    ),
}
