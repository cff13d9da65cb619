"""Groups error messages by kind: the same words, with any ids, numbers and names."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

READ = 300  # the kind is made from this many characters of a message
NAME = 4  # shorter names of companies are not replaced: they may be parts of other words
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
MOMENT = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"
HEX = r"(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{8,}"
# A quotation begins and ends at the edge of a word. An apostrophe does not.
QUOTED = r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|‘[^’]*’|“[^”]*”"  # noqa: RUF001
VARYING = re.compile(
    rf"(?P<quoted>{QUOTED})|\b(?:{UUID}|{HEX})\b|{MOMENT}|\d+(?:[.:,]\d+)*", re.IGNORECASE
)


def kind(message: str, names: Sequence[str | None] = ()) -> str:
    """The message with `#` for numbers, times and ids, and `…` for quotations and `names`."""
    message = message[:READ]
    for name in names:
        if name and len(name) >= NAME:
            message = message.replace(name, "…")
    folded = VARYING.sub(lambda found: "…" if found["quoted"] else "#", message)
    return " ".join(folded.split())


def failures(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The kinds of messages of rows that FAILED or wait for a retry, the most frequent first.

    - `count`: rows of both; `failed`: rows that FAILED.
    - `example`: a message of the kind; `varies`: whether there are others.
    - `estimated`: not all messages were read, and the rows of the others were shared out among the
      kinds that were.
    """
    return _grouped(errors, {"failed", "retrying"})


def summed(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums over groups of failures: the number of `kinds`, and of `count` and `failed` rows."""
    return {
        "kinds": sum(group.get("kinds", 1) for group in groups),
        "count": sum(group["count"] for group in groups),
        "failed": sum(group["failed"] for group in groups),
        "estimated": any(group["estimated"] for group in groups),
    }


def not_spawned(errors: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """The kinds of errors of rows whose spawn failed; `available_at` is when the first may go."""
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
    groups = _grouped(errors, {"waiting"})[:most]
    return [{name: group[name] for name in shown} for group in groups]


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
    return sorted(
        found.values(), key=lambda group: (-group["count"], group["step"], group["error"])
    )


def _unread(errors: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Per step and state: the rows with unread messages, divided by the messages that were read."""
    of_state = {(row["step"], row["state"]): row["of_state"] for row in errors}
    read, texts = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in errors:
        read[row["step"], row["state"]] += row["count"]
        texts[row["step"], row["state"]] += 1
    return {key: (rows - read[key]) / texts[key] for key, rows in of_state.items()}
