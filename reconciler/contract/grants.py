"""The privileges of each role, and the statements that grant them.

A role has a privilege only because one of its statements needs it. If a role does not need a whole
table, the privilege is granted column by column. Every table of the contract has a line for every
role; a test fails if one is missing.
"""

CONDUCTOR, WORKER, OPERATOR = ROLES = ("tracer_conductor", "tracer_worker", "tracer_operator")

_PACE = "spacing_s, learned_rate, ceiling, changed_at"
_PAUSE = "paused_until, pause_kind, paused_why, failures, refusals, refused_at"
_LOGGED = "arrived, completed, not_found, skipped"

# Per table and role, in GRANT's syntax; "" grants nothing. FOR UPDATE and FOR SHARE need UPDATE on
# some column. `ctid` is granted like a column. ON CONFLICT DO UPDATE reads the columns that it
# compares.
GRANTS: dict[str, dict[str, str]] = {
    "tracer_version": {CONDUCTOR: "SELECT", WORKER: "SELECT", OPERATOR: "SELECT"},
    "batches": {
        CONDUCTOR: "SELECT (id, name, steps, past, status, priority, paused, created_at, buy,"
        " client), UPDATE (status, finished_at)",
        WORKER: "",
        OPERATOR: "SELECT, INSERT (name, blueprint, columns, priority, buy, client),"
        " UPDATE (status, priority, paused, finished_at, unapproved), DELETE",
    },
    "companies": {
        CONDUCTOR: "SELECT (id, changed_at)",
        WORKER: "SELECT (id, key, name, domain, attributes)",
        OPERATOR: "SELECT, INSERT (key, name, domain, attributes),"
        " UPDATE (name, domain, attributes, changed_at), DELETE",
    },
    "batch_companies": {
        CONDUCTOR: "",
        WORKER: "SELECT",
        OPERATOR: "SELECT, INSERT, UPDATE (name, domain, attributes), DELETE",
    },
    "workflow_states": {
        CONDUCTOR: "SELECT (ctid, company_id, step_name, batch_id, position, in_waterfall, status,"
        " attempt, forgiven, losses, available_at, lease_expires_at, call_id, holder, error_kind,"
        " advanced, call_cancelled, queued_at, waits_since, reused),"
        " INSERT (company_id, step_name, batch_id, position, in_waterfall, available_at,"
        " created_at),"
        " UPDATE (status, attempt, available_at, lease_expires_at, call_id, holder, error,"
        " error_kind, advanced, call_cancelled, queued_at, started_at, finished_at, reused)",
        WORKER: "SELECT (company_id, step_name, batch_id, status, attempt, forgiven, losses,"
        " available_at, call_id, holder, error, reused),"
        " UPDATE (status, attempt, forgiven, available_at, lease_expires_at, call_id, holder,"
        " error, error_kind, queued_at, started_at, finished_at)",
        OPERATOR: "SELECT, INSERT (company_id, step_name, batch_id, position, in_waterfall),"
        " UPDATE (status, forgiven, available_at, lease_expires_at, error, error_kind,"
        " advanced, finished_at, waits_since, reused)",
    },
    "attempts": {
        CONDUCTOR: "",
        WORKER: "",
        OPERATOR: "SELECT, INSERT",
    },
    "enrichment_registry": {
        CONDUCTOR: "SELECT",
        WORKER: "SELECT (step_name, lease_s, hold_after, module)",
        OPERATOR: "SELECT, INSERT, UPDATE",
    },
    "holds": {
        CONDUCTOR: "SELECT",
        WORKER: "SELECT (step_name, kind, reason), INSERT (step_name, kind, reason), DELETE",
        OPERATOR: "SELECT, DELETE",
    },
    "throttles": {
        CONDUCTOR: "SELECT, INSERT, UPDATE",
        WORKER: "",
        OPERATOR: "SELECT",
    },
    "providers": {
        CONDUCTOR: f"SELECT, UPDATE (next_at, {_PACE}, calls_left, full_until)",
        WORKER: f"SELECT (name, next_at, {_PACE}, {_PAUSE}), UPDATE (next_at, {_PACE}, {_PAUSE})",
        OPERATOR: "SELECT, INSERT, UPDATE",
    },
    "provider_calls": {CONDUCTOR: "SELECT, INSERT, DELETE", WORKER: "", OPERATOR: "SELECT"},
    "orders": {
        CONDUCTOR: "SELECT, INSERT (company_id, step_name, batch_id, client, provider, price,"
        " made_at, for_batch, for_attempt, send_at), UPDATE (for_batch, for_attempt, settled,"
        " settled_at, unknown_at, void_at, superseded_at, send_at), DELETE",
        WORKER: "SELECT (id, company_id, step_name, provider, price, made_at, for_batch,"
        " for_attempt, send_at, sent_at, tries, known, answered_at, found, charged, void_at,"
        " superseded_at), UPDATE (send_at, sent_at, tries, known, answered_at, found, charged)",
        OPERATOR: "SELECT, INSERT, UPDATE",
    },
    "caps": {
        CONDUCTOR: "SELECT, INSERT (scope, since, most), UPDATE (reserved, spent, beyond)",
        WORKER: "",
        OPERATOR: "SELECT, INSERT (scope, since, most), UPDATE (most, reserved), DELETE",
    },
    "spend": {
        CONDUCTOR: "SELECT, INSERT, UPDATE (bought, hits, unknown, reused, charged)",
        WORKER: "",
        OPERATOR: "SELECT",
    },
    "polling": {
        CONDUCTOR: "SELECT, UPDATE (generation, ticked_at)",
        WORKER: "",
        OPERATOR: "SELECT, UPDATE (poll_s, idle_s, every_s, latency_target_s, paused, changed_at)",
    },
    "progress": {
        CONDUCTOR: f"SELECT, INSERT, UPDATE ({_LOGGED}), DELETE",
        WORKER: "",
        OPERATOR: f"SELECT, INSERT, UPDATE ({_LOGGED})",
    },
    "history": {
        CONDUCTOR: "",
        WORKER: "",
        OPERATOR: "SELECT, INSERT (batch_id, who, verb, detail, rows), UPDATE (rows)",
    },
    "ticks": {
        CONDUCTOR: "SELECT (at), INSERT, DELETE",
        WORKER: "",
        OPERATOR: "SELECT",
    },
}
# The view for psql and dbt shows what it shows by its owner's rights.
VIEWS = {"tracer_rows": {CONDUCTOR: "", WORKER: "", OPERATOR: "SELECT"}}
SEQUENCES = {
    "batches_id_seq": OPERATOR,
    "companies_id_seq": OPERATOR,
    "history_id_seq": OPERATOR,
    "ticks_id_seq": CONDUCTOR,
}
# A function has its owner's rights, so nobody else may call it.
FUNCTIONS = {"tracer_reap": CONDUCTOR}
# On every domain table. ON CONFLICT DO UPDATE needs SELECT on the columns that `excluded` names.
RESULTS = {WORKER: "SELECT, INSERT, UPDATE", OPERATOR: "SELECT, DELETE"}
# The tables of the schema of results that are no step's: no step may have their names.
SPECIAL = {
    "answers": {
        CONDUCTOR: "",
        WORKER: "SELECT, INSERT",
        OPERATOR: "SELECT, INSERT, DELETE",
    },
    "superseded": {
        CONDUCTOR: "",
        WORKER: "INSERT (company_id, table_name, batch_id, version, written_at, result)",
        OPERATOR: "SELECT, DELETE",
    },
}

# Grants limit columns; these policies limit rows and values, per table. `as_granted` leaves every
# role with its grants: under row level security, a role that no policy names sees nothing.
# `worker_moves` limits workers to rows in flight, and to the statuses that their verbs write.
# `worker_resumes` lets them remove only holds that any of them may be sure of. `worker_sees` shows
# them the companies that are in flight: of 500 it costs a `begin` 0.2 ms of 8. A scalar subquery,
# because EXISTS may be planned as a hash of all rows in flight.
_AS_GRANTED = "AS PERMISSIVE FOR ALL TO public USING (true) WITH CHECK (true)"
_IN_FLIGHT = "(s.status = ANY (ARRAY['QUEUED'::text, 'IN_PROGRESS'::text]))"
_SEES = (
    f"AS RESTRICTIVE FOR SELECT TO {WORKER} USING (( SELECT true AS bool\n"
    f"   FROM workflow_states s\n  WHERE ({{same}} AND {_IN_FLIGHT})\n LIMIT 1))"
)
POLICIES = {
    "workflow_states": {
        "as_granted": _AS_GRANTED,
        "worker_moves": f"AS RESTRICTIVE FOR UPDATE TO {WORKER}"
        " USING ((status = ANY (ARRAY['QUEUED'::text, 'IN_PROGRESS'::text])))"
        " WITH CHECK ((status = ANY (ARRAY['PENDING'::text, 'IN_PROGRESS'::text,"
        " 'COMPLETED'::text, 'NOT_FOUND'::text, 'SKIPPED'::text, 'FAILED'::text])))",
    },
    "holds": {
        "as_granted": _AS_GRANTED,
        "worker_resumes": f"AS RESTRICTIVE FOR DELETE TO {WORKER} USING ((kind = 'import'::text))",
    },
    "companies": {
        "as_granted": _AS_GRANTED,
        "worker_sees": _SEES.format(same="(s.company_id = companies.id)"),
    },
    "batch_companies": {
        "as_granted": _AS_GRANTED,
        "worker_sees": _SEES.format(
            same="(s.company_id = batch_companies.company_id)"
            " AND (s.batch_id = batch_companies.batch_id)"
        ),
    },
}
SECURED = "SELECT relrowsecurity AS secured FROM pg_class WHERE oid = %(table)s::regclass"
SECURE = "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
# The existing policies, written like POLICIES, to compare them. A policy is replaced only if it
# differs: that waits for every running statement on the table, and all later statements wait too.
POLICIES_FOUND = """
SELECT p.policyname AS name, format('AS %%s FOR %%s TO %%s USING (%%s)', p.permissive, p.cmd,
    array_to_string(p.roles, ', '), p.qual) || coalesce(' WITH CHECK (' || p.with_check || ')', '')
    AS text
FROM pg_policies p
JOIN pg_class c ON c.oid = %(table)s::regclass AND c.relname = p.tablename
    AND c.relnamespace = to_regnamespace(quote_ident(p.schemaname))
"""
DROP_POLICY = "DROP POLICY IF EXISTS {name} ON {table}"
MAKE_POLICY = "CREATE POLICY {name} ON {table} {text}"
POLICY_WAIT = "SET LOCAL lock_timeout = '10s'"

EXISTING_ROLES = "SELECT rolname AS role FROM pg_roles WHERE rolname = ANY(%(roles)s)"
OWNERSHIP = """
SELECT current_user AS me, pg_get_userbyid(c.relowner) AS owner,
    pg_has_role(c.relowner, 'USAGE') AS mine, n.nspname AS schema, current_database() AS database
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass('workflow_states')
"""
DOMAIN_TABLES = """
SELECT relname AS name FROM pg_class
WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind IN ('r', 'p')
    AND relname <> ALL(%(special)s) AND pg_has_role(relowner, 'USAGE')
ORDER BY 1
"""
MAKE_ROLE = "CREATE ROLE {role} LOGIN"
SET_PASSWORD = "ALTER ROLE {role} LOGIN PASSWORD {password}"

# One grants at a time: two would fail with "tuple concurrently updated".
ROLES_TURN = "SELECT pg_advisory_xact_lock(hashtext('tracer.roles'))"
GRANT_CONNECT = "GRANT CONNECT ON DATABASE {database} TO {roles}"
GRANT_TEMPORARY = "GRANT TEMPORARY ON DATABASE {database} TO {role}"
GRANT_SCHEMA = "GRANT USAGE ON SCHEMA {schema} TO {roles}"
# The statements name no schema: the roles look for the tables where the owner has them.
SET_SCHEMA = "ALTER ROLE {role} IN DATABASE {database} SET search_path TO {schema}, {public}"
PUBLIC = "public"
REVOKE = "REVOKE ALL ON {table} FROM {roles}"
GRANT = "GRANT {privileges} ON {table} TO {role}"
REVOKE_SEQUENCE = "REVOKE ALL ON SEQUENCE {sequence} FROM {roles}"
GRANT_SEQUENCE = "GRANT USAGE ON SEQUENCE {sequence} TO {role}"
REVOKE_FUNCTION = "REVOKE ALL ON FUNCTION {function} FROM PUBLIC, {roles}"
GRANT_FUNCTION = "GRANT EXECUTE ON FUNCTION {function} TO {role}"

# Privileges that are missing. A grant by someone who does not own the object is only a notice for
# Postgres, not an error.
MISSING = """
SELECT r.rolname AS role, need.privilege, need.kind, need.name
FROM pg_roles r
CROSS JOIN LATERAL (VALUES
    ('CONNECT', 'DATABASE', current_database()::text,
     has_database_privilege(r.oid, current_database(), 'CONNECT')),
    ('TEMPORARY', 'DATABASE', current_database()::text, r.rolname <> %(operator)s
     OR has_database_privilege(r.oid, current_database(), 'TEMPORARY')),
    ('USAGE', 'SCHEMA', %(schema)s::text, has_schema_privilege(r.oid, %(schema)s::text, 'USAGE'))
) AS need (privilege, kind, name, there)
WHERE r.rolname = ANY(%(roles)s) AND NOT need.there
ORDER BY 1, 2
"""

# Privileges that a role has, and that were not granted to it.
SURPLUS = """
WITH surplus AS (
    SELECT r.rolname AS role, t.name, p.privilege
    FROM pg_roles r
    CROSS JOIN unnest(%(tables)s::text[]) AS t (name)
    JOIN pg_class c ON c.oid = t.name::regclass
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p (privilege)
    WHERE r.rolname = ANY(%(roles)s)
      AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) x
                      WHERE x.grantee = r.oid AND x.privilege_type = p.privilege)
      AND CASE WHEN p.privilege IN ('DELETE', 'TRUNCATE')
          THEN has_table_privilege(r.oid, c.oid, p.privilege)
          ELSE EXISTS (
              SELECT FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND has_column_privilege(r.oid, c.oid, a.attnum, p.privilege)
                AND NOT EXISTS (SELECT FROM aclexplode(a.attacl) x
                                WHERE x.grantee = r.oid AND x.privilege_type = p.privilege)) END
)
SELECT role, array_agg(DISTINCT privilege) AS privileges,
    string_agg(DISTINCT name, ', ' ORDER BY name) AS tables
FROM surplus
GROUP BY role
ORDER BY role
"""
