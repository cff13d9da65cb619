"""`tracer doctor`: every part that Tracer talks to, and how to mend what is wrong with it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import typer

from cli import schedule
from cli.connect import database_url
from cli.interval import schedule_gap
from cli.render import AsJson, document, out, seconds, table
from cli.stack import accepts
from reconciler.contract.database import check_revision, connect, place
from reconciler.contract.errors import TracerError
from reconciler.contract.explain import is_silent
from reconciler.contract.operate import OperatorStore
from reconciler.contract.settings import load_settings, workers_socket
from reconciler.spawners.local import NO_HOST
from workers.step import load_steps

Check = Callable[[], str]


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what to do where it is not."""

    part: str
    ok: bool
    says: str


def doctor(as_json: AsJson = False) -> None:
    """Check every part; exit code 1 when one needs mending."""
    findings: list[Finding] = []
    for part, check in checks().items():
        well = {finding.part for finding in findings if finding.ok}
        if well >= set(NEEDS.get(part, ())):
            findings.append(examine(part, check))
    if as_json:
        document([asdict(finding) for finding in findings])
    else:
        rows = [[f.part, "ok" if f.ok else "MEND", f.says] for f in findings]
        out.print(table(["part", "", "says"], rows))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def examine(part: str, check: Check) -> Finding:
    """Run one check; an error's message says how to mend it."""
    try:
        return Finding(part, True, check())
    except TracerError as error:
        return Finding(part, False, str(error))


def _settings() -> str:
    settings = load_settings()
    return f"workers: {settings.workers}, home: {settings.home}"


def _database() -> str:
    url = database_url(load_settings())
    with connect(url) as connection:
        version, role = connection.info.server_version, connection.info.user
    return f"{place(url)}, Postgres {version // 10000}, as {role}"


def _schema() -> str:
    with connect(database_url(load_settings())) as connection:
        check_revision(connection)
    return "at the revision that this Tracer needs"


def _steps() -> str:
    known = load_steps()
    with OperatorStore.connect(database_url(load_settings())) as store:
        registered = {row["step_name"]: row for row in store.steps()}
    if missing := sorted(set(known) - set(registered)):
        raise TracerError(f"Not registered: {', '.join(missing)}. Run `tracer steps sync`.")
    if gone := sorted(set(registered) - set(known)):
        return f"registered without code here: {', '.join(gone)}"
    disabled = [name for name, row in registered.items() if not row["enabled"]]
    return f"{len(known)} registered" + (f", disabled: {', '.join(disabled)}" if disabled else "")


def _loop() -> str:
    with OperatorStore.connect(database_url(load_settings())) as store:
        polling = store.polling()
    if polling["paused"]:
        raise TracerError("Polling is paused: run `tracer interval resume`.")
    mend = "start `tracer up`, a Prefect worker, or `tracer reconcile --until-done`."
    if polling["ticked_at"] is None:
        raise TracerError(f"No loop has ever ticked: {mend}")
    ago = (polling["now"] - polling["ticked_at"]).total_seconds()
    if is_silent(polling["now"], polling["ticked_at"], polling["idle_s"]):
        raise TracerError(f"No loop has ticked for {ago:.0f} s: {mend}")
    return f"ticked {ago:.1f} s ago"


def _prefect() -> str:
    found = schedule.read_schedule(load_settings())
    if not found.deployed:
        raise TracerError(schedule.NOT_DEPLOYED)
    if found.paused:
        raise TracerError("The schedule is paused: run `tracer interval resume`.")
    if not found.pool_online:
        raise TracerError(
            f"No worker polls the pool: `prefect worker start --pool {schedule.POOL}`."
        )
    return f"{found.api_url}, a run every {seconds(found.every_s)}"


def _window() -> str:
    found = schedule.read_schedule(load_settings())
    with OperatorStore.connect(database_url(load_settings())) as store:
        if gap := schedule_gap(store.polling(), found.every_s):
            raise TracerError(f"A run comes every {seconds(found.every_s)}{gap}.")
    return "as long as the schedule's interval"


def _local_workers() -> str:
    settings = load_settings()
    if not accepts(workers_socket(settings.home)):
        raise TracerError(f"{NO_HOST[0].upper()}{NO_HOST[1:]}.")
    return f"the worker host listens at {workers_socket(settings.home)}"


def checks() -> dict[str, Check]:
    """What there is to look at, in an order in which the first fault is the cause of others."""
    try:
        on_modal = load_settings().workers == "modal"
    except TracerError:
        on_modal = False  # the settings' own check says what is wrong
    if not on_modal:
        return COMMON | {"workers": _local_workers}
    from cli.doctor_modal import CHECKS  # Modal's client takes 0.7 s to import

    return COMMON | CHECKS


# What cannot be looked at, and would only repeat the same words, where another part is not well.
NEEDS = {
    "schema": ("database",),
    "steps": ("schema",),
    "loop": ("schema",),
    "window": ("schema", "prefect"),
    "app": ("schema", "modal"),
    "functions": ("app",),
}
COMMON: dict[str, Check] = {
    "settings": _settings,
    "database": _database,
    "schema": _schema,
    "steps": _steps,
    "loop": _loop,
    "prefect": _prefect,
    "window": _window,
}
