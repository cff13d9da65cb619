"""Turns a typed value of a seed file, of Parquet or a workbook, into one that JSON has."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

from reconciler.operator.seeding.columns import JSON


def as_json(value: Any) -> JSON:
    """The value that JSON has for a Python value.

    Dates and times become ISO 8601 text, decimals text, durations seconds, NaN null, maps lists of
    pairs. Bytes become text if they are UTF-8: older writers of Parquet store text so.

    Raises:
        ValueError: JSON has no such value; the message continues the words "column x".
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, dict):
        return {str(name): as_json(each) for name, each in value.items()}
    return _text(value)


def _number(value: float) -> float | None:
    if math.isinf(value):
        raise ValueError("holds Infinity, which JSON does not have")
    return None if math.isnan(value) else value


def _text(value: Any) -> JSON:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ValueError("holds bytes that are not UTF-8 text") from error
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)
