"""Finds the header under lines that say where a file comes from: "Exported from …"."""

from collections.abc import Sequence
from statistics import median_high

from reconciler.operator.seeding.columns import looks_like_header

_AT_MOST = 30  # rows before a header


def header_row(rows: Sequence[Sequence[str]]) -> int:
    """How many of a file's first rows come before its header; 0 unless it is plain.

    It is plain if the first row is narrow, and the first one that is as wide as most has the name
    of a column that is known.
    """
    widths = [_width(row) for row in rows]
    usual = median_high(widths) if widths else 0
    if usual < 2 or widths[0] >= usual:
        return 0
    wide = next(number for number, width in enumerate(widths) if width >= usual)
    if wide > _AT_MOST or looks_like_header(rows[0]) or not looks_like_header(rows[wide]):
        return 0
    return wide


def _width(row: Sequence[str]) -> int:
    """The cells up to the last one that is not empty: spreadsheets pad rows."""
    return max((place for place, cell in enumerate(row, 1) if cell.strip()), default=0)
