"""Every code is within reach and given by one module; nothing decides by an error's words."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.errors import TracerError, WrongSchema
from reconciler.contract.limits import read_windows
from reconciler.local.worker_host import HostFault, HostStatus
from reconciler.operator.diagnosis.explain import explain
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import NextClaim, Observed, RowFacts
from reconciler.operator.diagnosis.rules import loop, workers
from reconciler.operator.money.full import FullCap
from reconciler.prefect.schedule import Schedule
from reconciler.provider_state import ProviderState
from tests.reconciler.operator.diagnosis.broken import BROKEN
from tests.reconciler.operator.diagnosis.test_doctor_modal import CODES as OF_MODAL

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON, LATELY = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)
NEXT = NextClaim(10, 10, 10, 0, 0, 0, 1, 0, 0, None)
NONE_FREE = NextClaim(0, 0, 0, 0, 0, 0, 0, 20, 0, None)
QUEUED: dict[str, Any] = {"status": "QUEUED", "queued_at": LATELY, "lease_expires_at": SOON}
BEGUN = QUEUED | {"status": "IN_PROGRESS", "started_at": LATELY}
DONE: dict[str, Any] = {"status": "COMPLETED", "finished_at": LATELY}
NO_HOST = Reason(Code.NO_WORKER_HOST, "No worker host is running here", "tracer up")
HERE = Observed(workers="local", workers_ready=False, workers_fault=NO_HOST)
LACKS = Reason(Code.WORKER_HOST_LACKS_STEP, "The worker host here does not have it", "tracer up")
LACKING = Observed(workers="local", workers_ready=False, workers_fault=LACKS)
AWAY = Reason(Code.PREFECT_UNREACHABLE, "No Prefect server answers", "prefect server start")


def limited(**values: Any) -> ProviderState:
    """A provider with 5 calls a second and 1000 a day, changed."""
    empty = dict.fromkeys(field.name for field in fields(ProviderState))
    windows = read_windows("5/s,1000/d")
    known = {"name": "acme", "windows": windows, "burst": 1, "spacing_s": 0.206, "failures": 0}
    known |= {"until_resumed": False, "refusals": 0, "under_way": 0, "now": NOW}
    return ProviderState(**{**empty, **known, **values})


ROWS: dict[Code, dict[str, Any]] = {
    Code.ALL_STEPS_DONE: DONE | {"next_step": None},
    Code.STEP_DONE: DONE,
    Code.NOT_FOUND: DONE | {"status": "NOT_FOUND"},
    Code.SKIPPED: DONE | {"status": "SKIPPED", "error": "no input"},
    Code.BATCH_CANCELLED: DONE | {"batch_status": "CANCELLED"},
    Code.FAILED: {"status": "FAILED", "finished_at": LATELY},
    Code.CANCELLED: {"status": "CANCELLED", "finished_at": LATELY},
    Code.CANCEL_UNFINISHED: {"batch_status": "CANCELLED"},
    Code.BATCH_PAUSED: {"batch_paused": True},
    Code.BACKOFF: {"available_at": SOON, "error": "busy", "error_kind": ErrorKind.RAISED},
    Code.ASKED_TO_WAIT: {
        "available_at": SOON,
        "error": "RetryAfter: busy",
        "error_kind": ErrorKind.RETRY_AFTER,
    },
    Code.SPAWN_FAILED: {
        "available_at": SOON,
        "error": "spawn refused: full",
        "error_kind": ErrorKind.SPAWN_REFUSED,
    },
    Code.THROTTLED: {"held_until": SOON, "held_because": "full"},
    Code.COMPANY_IN_FLIGHT: {"working_batch": "other"},
    Code.CAP_FULL: {
        "price": Decimal(2),
        "full_caps": (FullCap("all", None, Decimal(5), Decimal(1), 3, Decimal(2)),),
    },
    Code.PROVIDER_PAUSED: {"limits": limited(paused_until=SOON, pause_kind="asked")},
    Code.PROVIDER_FULL: {"limits": limited(full_until=SOON)},
    Code.PROVIDER_PROBING: {"limits": limited(failures=2, under_way=1), "next_claim": NONE_FREE},
    Code.PROVIDER_BUSY: {"limits": limited(max_concurrent=5, under_way=5), "next_claim": NONE_FREE},
    Code.PROVIDER_RATE: {"limits": limited(next_at=SOON), "next_claim": NONE_FREE},
    Code.CALL_PLANNED: QUEUED | {"send_at": SOON, "provider": "acme"},
    Code.MAY_BE_CHARGED: {"status": "FAILED", "lost_order": UUID(int=1), "lost_at": LATELY},
    Code.CAPACITY_ZERO: {"max_in_flight": 0},
    Code.CAPACITY_USED_UP: {"max_in_flight": 5, "in_flight": 5},
    Code.WORKERS_FULL: {
        "next_claim": NEXT,
        "observed": Observed(workers="local", workers_ready=True, workers_full=True),
    },
    Code.HIGHER_PRIORITY: {"next_claim": NextClaim(10, 0, 0, 0, 20, 3, 1, 0, 0, None)},
    Code.BEHIND_IN_BATCH: {"next_claim": NextClaim(10, 10, 10, 0, 0, 0, 1, 20, 0, None)},
    Code.IN_LINE: {"next_claim": NextClaim(10, 10, 10, 0, 0, 0, 1, 0, 5, None)},
    Code.CLAIMED_NEXT: {"next_claim": NEXT},
    Code.CLAIMED: QUEUED,
    Code.SPAWN_UNANSWERED: QUEUED | {"error": "?", "error_kind": ErrorKind.SPAWN_UNKNOWN},
    Code.RUNNING: BEGUN,
    Code.WORKER_SILENT: BEGUN | {"lease_expires_at": NOW + timedelta(seconds=10), "lease_s": 60},
    Code.LEASE_OVER: BEGUN | {"lease_expires_at": LATELY},
    Code.WORKER_HOST_GONE: BEGUN | {"observed": HERE},
    Code.WORKER_HOST_LACKS_STEP: QUEUED | {"observed": LACKING},
    Code.STEP_NOT_REGISTERED: {"enabled": None},
    Code.STEP_DISABLED: {"enabled": False},
    Code.STEP_HELD: {"hold_kind": "table", "hold_reason": "The table results.x is missing"},
    Code.POLLING_PAUSED: {"polling_paused": True},
    Code.POLLING_ROW_MISSING: {"polling_paused": None},
    Code.NO_TICK: {"ticked_at": None},
    Code.PREFECT_UNREACHABLE: {"ticked_at": None, "observed": Observed(AWAY)},
    Code.STACK_STARTING: {"ticked_at": None, "observed": Observed(loop.STACK_STARTING)},
}
SCHEDULES: dict[Code, dict[str, Any]] = {
    Code.PREFECT_NOT_DEPLOYED: {"deployed": False},
    Code.PREFECT_NO_INTERVAL: {"every_s": None},
    Code.PREFECT_PAUSED: {"paused": True},
    Code.PREFECT_NO_WORKER: {"pool_online": False},
    Code.PREFECT_OTHER_POOL: {"pool_online": False, "pool": "other"},
    Code.PREFECT_POOL_PAUSED: {"pool_paused": True},
    Code.PREFECT_POOL_FULL: {"pool_limit": 0},
    Code.PREFECT_QUEUE_PAUSED: {"queue_paused": True},
    Code.PREFECT_QUEUE_FULL: {"queue_limit": 0},
    Code.PREFECT_LATE: {"next_run_at": LATELY},
}
HOSTS = {
    Code.NO_WORKER_HOST: HostStatus(fault=HostFault.NOT_RUNNING),
    Code.WORKER_HOST_SILENT: HostStatus(fault=HostFault.SILENT),
    Code.WORKER_HOST_OUTDATED: HostStatus(fault=HostFault.OUTDATED),
    Code.WORKER_HOST_STRANGER: HostStatus(fault=HostFault.STRANGER),
    Code.WORKER_HOST_LACKS_STEP: HostStatus(frozenset({"other"}), {}, 1.0),
}
SCHEMAS = {Code.SCHEMA_MISSING: None, Code.SCHEMA_BEHIND: "0001", Code.TRACER_BEHIND: "9999"}
# Doctor's, of which `test_doctor` and `test_doctor_money` have a test each.
OF_DOCTOR = {Code.NO_NEXT_TICK, Code.PREFECT_UNKNOWN, Code.STEP_CODE_MISSING, Code.STEP_CODE_BROKEN}
OF_MONEY = {Code.ORDERS_UNKNOWN, Code.PRICE_TOO_LOW}


def row(**values: Any) -> RowFacts:
    """A row that the next tick claims, changed."""
    empty = dict.fromkeys(field.name for field in fields(RowFacts))
    known = {
        **{"step": "normalize", "number": 1, "steps": 2, "next_step": "step_a", "attempt": 1},
        **{"status": "PENDING", "in_waterfall": False},
        **{
            "forgiven": 0,
            "losses": 0,
            "available_at": LATELY,
            "company_id": 1,
            "key": "acme",
            "batch_id": 1,
        },
        **{"batch": "batch", "batch_status": "RUNNING", "batch_paused": False, "priority": 0},
        **{"enabled": True, "max_in_flight": 100, "max_attempts": 5, "lease_s": 300},
        **{"in_flight": 0, "waiting": 0, "expired": 0, "polling_paused": False, "poll_s": 1},
        **{"idle_s": 10, "ticked_at": NOW, "now": NOW, "observed": Observed()},
    }
    return RowFacts(**{**empty, **known, **values})


@pytest.mark.parametrize(("code", "values"), ROWS.items())
def test_a_row_has_its_code(code: Code, values: dict[str, Any]) -> None:
    reason = explain(row(**values))
    assert reason.code == code
    assert not reason.says.endswith(".")


@pytest.mark.parametrize(("code", "values"), SCHEDULES.items())
def test_a_schedule_has_its_code(code: Code, values: dict[str, Any]) -> None:
    well: dict[str, Any] = {"every_s": 120.0, "paused": False, "next_run_at": SOON}
    well |= {"deployed": True, "pool_online": True}
    assert next(loop.schedule_faults(Schedule("http://h/api", **well), NOW), None) is None
    assert next(loop.schedule_faults(Schedule("http://h/api", **well | values), NOW)).code == code


@pytest.mark.parametrize(("code", "host"), HOSTS.items())
def test_a_host_has_its_code(code: Code, host: HostStatus) -> None:
    assert next(workers.host_faults(host, ["normalize"], "tracer up")).code == code


@pytest.mark.parametrize(("code", "found"), SCHEMAS.items())
def test_a_schema_has_its_code(code: Code, found: str | None) -> None:
    assert loop.wrong_schema(WrongSchema(found, "0005")).code == code


def test_a_prefect_that_is_not_known_has_its_code() -> None:
    assert loop.prefect_unknown(TracerError("-", "tracer up")).code == Code.PREFECT_UNKNOWN


def test_no_code_is_out_of_reach() -> None:
    of_parts = {code for _, _, code, *_ in BROKEN.values()}
    tables = {*ROWS, *SCHEDULES, *HOSTS, *SCHEMAS}
    assert tables | of_parts | OF_MODAL | OF_DOCTOR | OF_MONEY == set(Code)


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def given(tree: ast.AST) -> Iterator[str]:
    """The codes that a module gives; those that it compares with are another's."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Attribute) and getattr(child.value, "id", None) == "Code":
            yield child.attr
        elif not isinstance(child, ast.Compare):
            yield from given(child)


def test_every_code_is_given_by_one_module() -> None:
    givers: dict[str, set[str]] = {code.name: set() for code in Code}
    for name, tree in modules("reconciler", "cli"):
        for code in given(tree):
            givers[code].add(name)
    assert {code: names for code, names in givers.items() if len(names) != 1} == {}


def test_an_error_says_its_fix_once() -> None:
    assert str(TracerError("No batch.", "tracer seed")) == "No batch: run `tracer seed`."
    assert str(TracerError("No batch.")) == "No batch."
    assert str(Reason(Code.NO_TICK, "No tick", "tracer up")) == "No tick: run `tracer up`."


# Texts of others, who give no code: libpq, Postgres, csv and pyarrow.
WORDS_OF_OTHERS = {
    "reconciler/contract/connection_errors.py",
    "reconciler/schema/role_urls.py",
    "reconciler/operator/seeding/delimited.py",
    "reconciler/operator/seeding/parquet.py",
}
READS_WORDS = ("startswith", "endswith", "search", "match", "fullmatch", "findall", "partition")


def is_words(node: ast.AST) -> bool:
    """Whether it is the text of an error or of a reason: `str(error)`, `x.error`, `x["says"]`."""
    if isinstance(node, ast.BoolOp):  # (row.error or "")
        return any(map(is_words, node.values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # .strip() and its kind
        return is_words(node.func.value)
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "str":
        return any("error" in ast.unparse(argument) for argument in node.args)
    name = ast.unparse(node).rpartition(".")[2] if isinstance(node, ast.Attribute) else ""
    key = node.slice.value if isinstance(node, ast.Subscript) and is_key(node.slice) else ""
    return {name, key} & {"error", "says", "fix", "reason", "held_because"} != set()


def is_key(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant)


def decides_by_words(node: ast.AST) -> bool:
    """Whether it asks what is in such a text, or how it begins."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        none = any(isinstance(side, ast.Constant) and side.value is None for side in sides)
        return not none and any(map(is_words, sides))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        texts = [node.func.value, *node.args]
        return node.func.attr in READS_WORDS and any(map(is_words, texts))
    return False


def test_nothing_decides_by_the_words_of_an_error() -> None:
    found = {
        f"{name}: {ast.unparse(node)}"
        for name, tree in modules("reconciler", "cli", "workers")
        for node in ast.walk(tree)
        if name not in WORDS_OF_OTHERS and decides_by_words(node)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("text", "finds"),
    [
        ('(row.error or "").startswith("spawn")', True),
        ('"refused" in str(error)', True),
        ('re.search("a", reason["says"])', True),
        ('str(error).strip().partition(": run")', True),
        ("row.error is None", False),
        ("reason.code == Code.NO_TICK", False),
    ],
)
def test_what_decides_by_words_is_found(text: str, finds: bool) -> None:
    assert any(map(decides_by_words, ast.walk(ast.parse(text)))) == finds
