"""What makes two error messages one kind: the same words, whatever ids and numbers are in them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

READ = 300  # characters of a message that tell its kind
NAME = 4  # characters that a company's name must have: a shorter one is a part of other words
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
MOMENT = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"
HEX = r"(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{8,}"
# A quotation begins and ends at the edge of a word, so that an apostrophe is none.
QUOTED = r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|‘[^’]*’|“[^”]*”"  # noqa: RUF001
VARYING = re.compile(
    rf"(?P<quoted>{QUOTED})|\b(?:{UUID}|{HEX})\b|{MOMENT}|\d+(?:[.:,]\d+)*", re.IGNORECASE
)


def kind(message: str, names: Sequence[str | None] = ()) -> str:
    """`message` with what varies replaced: `#` for numbers, moments and ids, `…` for quotations and
    for the company's `names`."""
    message = message[:READ]
    for name in names:
        if name and len(name) >= NAME:
            message = message.replace(name, "…")
    folded = VARYING.sub(lambda found: "…" if found["quoted"] else "#", message)
    return " ".join(folded.split())


def failures(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The kinds of message of rows that failed, or wait for another attempt; most frequent first.

    `count` is of both, `failed` of those that have no attempt left; `example` is a message of the
    kind, and `varies` says that there are others. Where there are more messages than were read, the
    rows of those are shared out among the kinds that were, and `estimated` says so.
    """
    return _grouped(errors, {"failed", "retrying"})


def together(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What groups of failures come to: `kinds` of messages, `count` and `failed` rows."""
    return {
        "kinds": sum(group.get("kinds", 1) for group in groups),
        "count": sum(group["count"] for group in groups),
        "failed": sum(group["failed"] for group in groups),
        "estimated": any(group["estimated"] for group in groups),
    }


def notes(errors: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """Why rows were not spawned that wait for it, by kind; from `available_at` on they may be."""
    shown = (
        "step",
        "error_kind",
        "error",
        "count",
        "example",
        "varies",
        "estimated",
        "available_at",
    )
    return [{name: of[name] for name in shown} for of in _grouped(errors, {"waiting"})[:most]]


def _grouped(errors: Sequence[Mapping[str, Any]], states: set[str]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    unread = _unread(errors)
    for row in errors:
        if row["state"] in states:
            step, message = row["step"], row["error"]
            error_kind, words = row["error_kind"], kind(message, row["names"])
            names = {"step": step, "error_kind": error_kind, "error": words}
            sums = {"count": 0, "failed": 0, "varies": False, "estimated": False}
            about = {"example": message, "available_at": None}
            group = found.setdefault((step, error_kind, words), names | sums | about)
            rows = row["count"] + unread[step, row["state"]]
            group["count"] += rows
            group["failed"] += rows if row["state"] == "failed" else 0
            group["varies"] |= message != group["example"]
            group["estimated"] |= unread[step, row["state"]] > 0
            moments = [at for at in (group["available_at"], row["available_at"]) if at]
            group["available_at"] = min(moments, default=None)
    for group in found.values():
        group |= {"count": round(group["count"]), "failed": round(group["failed"])}
    return sorted(found.values(), key=lambda of: (-of["count"], of["step"], of["error"]))


def _unread(errors: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Per step and state, the rows whose message was not read, for each message that was."""
    of_state = {(row["step"], row["state"]): row["of_state"] for row in errors}
    read, texts = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in errors:
        read[row["step"], row["state"]] += row["count"]
        texts[row["step"], row["state"]] += 1
    return {key: (rows - read[key]) / texts[key] for key, rows in of_state.items()}
