"""Sets the loop's intervals, and pauses or resumes it: in Postgres and in Prefect's schedule."""

from typing import Any

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import load_settings
from reconciler.operator.store import OperatorStore
from reconciler.prefect import schedule


def set_intervals(store: OperatorStore, values: dict[str, float]) -> None:
    """Write these columns of `polling`; `every_s` goes to Prefect's schedule first.

    A new schedule also starts a run now: otherwise the next run comes a whole interval later, and
    the running loop's window may end before that.

    Raises:
        Unreachable, WorkFailed: Prefect could not change its schedule; nothing has changed.
        BadInput: a value breaks a rule of its column, or is too short for a schedule.
    """
    settings, every_s = load_settings(), values.get("every_s")
    changed = schedule.set_every(settings, every_s) if every_s is not None else None
    fitted = fitting(values, store.polling())
    store.set_polling(
        poll_s=fitted.get("poll_s"),
        idle_s=fitted.get("idle_s"),
        every_s=fitted.get("every_s"),
        latency_target_s=fitted.get("latency_target_s"),
    )
    if changed and not changed.paused:
        schedule.run_now(settings)


def fitting(values: dict[str, float], now: dict[str, Any]) -> dict[str, float]:
    """`values`, with the idle interval raised to a poll interval that is longer than it."""
    poll = values.get("poll_s", now["poll_s"])
    if "idle_s" not in values and poll > now["idle_s"]:
        return {**values, "idle_s": poll}
    return values


def set_paused(store: OperatorStore, paused: bool) -> str | None:
    """Pause the loop and Prefect's schedule; or resume both, and start a run now.

    The loop's switch is in the database and is set first: it alone stops every tick. Returns why
    Prefect could not change its schedule, or None.
    """
    store.set_polling(paused=paused)
    settings = load_settings()
    try:
        if paused:
            schedule.pause(settings)
        else:
            schedule.resume(settings)
            schedule.run_now(settings)
    except TracerError as error:
        return str(error)
    return None
