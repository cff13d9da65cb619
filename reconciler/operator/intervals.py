"""Sets the loop's intervals and its pause, in Postgres and in Prefect's schedule."""

from typing import Any

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import load_settings
from reconciler.operator.store import OperatorStore
from reconciler.prefect import schedule


def set_intervals(store: OperatorStore, values: dict[str, float]) -> None:
    """Set these columns of `polling`, and Prefect's schedule where `every_s` is among them.

    With a new schedule a run starts now: the next one comes a whole interval after the change, and
    the loop that ticks at present may have less than that left of its window.

    Raises:
        Unreachable, WorkFailed: Prefect cannot; it goes first, so that nothing has changed.
        BadInput: a value breaks a rule of its column, or is too short for a schedule.
    """
    settings, every_s = load_settings(), values.get("every_s")
    laid = schedule.set_every(settings, every_s) if every_s is not None else None
    fitted = fitting(values, store.polling())
    store.set_polling(
        poll_s=fitted.get("poll_s"),
        idle_s=fitted.get("idle_s"),
        every_s=fitted.get("every_s"),
        latency_target_s=fitted.get("latency_target_s"),
    )
    if laid and not laid.paused:
        schedule.run_now(settings)


def fitting(values: dict[str, float], now: dict[str, Any]) -> dict[str, float]:
    """`values`, with the idle interval raised where a longer poll interval alone was asked for."""
    poll = values.get("poll_s", now["poll_s"])
    if "idle_s" not in values and poll > now["idle_s"]:
        return {**values, "idle_s": poll}
    return values


def set_paused(store: OperatorStore, paused: bool) -> str | None:
    """Pause the loop and Prefect's schedule, or have both go on, with a run at once.

    The loop's own switch goes first: it needs only the database, and it alone stops every tick.
    Returns why the schedule is as it was, where Prefect could not change it.
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
