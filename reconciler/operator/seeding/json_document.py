"""Reads one JSON document: a list of companies, or an object that has one such list.

A company is an object, as in JSON lines, or a text: its domain if the first one is an address,
else its name. The document's text is held in memory, its values are not.
"""

import json
from collections.abc import Iterator
from itertools import chain, islice

from reconciler.contract.errors import BadInput
from reconciler.operator.exact_json import dumps
from reconciler.operator.seeding.addresses import host_of
from reconciler.operator.seeding.columns import JSON
from reconciler.operator.seeding.json_lines import DECODER, Written, json_table, learning, written
from reconciler.operator.seeding.rows import Rejection, Row, Table, checked

AHEAD = 1000  # companies that are read ahead to learn the columns
WANTED = "a list of companies, [{…}, …], or a JSON object on each line"
_NOT = "neither a JSON object nor a text"
BLANKS = frozenset(" \t\r\n")


def document_table(lines: Iterator[str]) -> Table:
    """Read a document, or JSON lines if the first line is an object of its own.

    Raises:
        BadInput: there is no list of companies in it.
    """
    first = next((line for line in lines if line.strip()), "")
    if _is_object(first) and (second := next((line for line in lines if line.strip()), "")):
        return json_table(chain([first, second], lines))
    text = "".join(chain([first], lines))
    return _table(text, text.index("[")) if text.lstrip().startswith("[") else _in_object(text)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _in_object(text: str) -> Table:
    try:
        whole = DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"This is not JSON ({error}): it needs {WANTED}.") from error
    if not isinstance(whole, dict):
        raise BadInput(f"No company was found: the file needs {WANTED}.")
    lists = [value for value in whole.values() if _is_list_of_companies(value)]
    if len(lists) == 1:
        return _table(dumps(lists[0]), 0)
    if lists:
        raise BadInput(f"The JSON has several lists: it needs {WANTED}.")
    return json_table(iter([dumps(whole)]))


def _is_list_of_companies(value: JSON) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _table(text: str, start: int) -> Table:
    values = _values(text, start)
    ahead = list(islice(values, AHEAD))
    texts = next((value for _, value, _ in ahead if isinstance(value, str)), None)
    column = "domain" if texts and host_of(texts) else "name"
    names: list[str] = []
    for _ in learning((_row(*each, column) for each in ahead), names):
        pass
    if not names:
        raise BadInput(f"No company was found: the file needs {WANTED}.")
    rows = (_row(*each, column) for each in chain(ahead, values))
    return Table(names, learning(rows, names), as_json=written)


def _row(line: int, value: JSON, text: str, column: str) -> Row | Rejection:
    if isinstance(value, str):
        value, text = {column: value}, dumps({column: value})
    if not isinstance(value, dict):
        return Rejection(line, _NOT, text)
    return checked(line, Written(value, text))


def _values(text: str, start: int) -> Iterator[tuple[int, JSON, str]]:
    """The values of the list that begins at `start`: the line of each, the value, and its text."""
    place, line, counted = start + 1, 1, 0
    while True:
        place = _after_blanks(text, place)
        if text.startswith("]", place):
            return
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, end = DECODER.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"The JSON cannot be read from line {line} on: {error}.") from error
        yield line, value, text[place:end]
        place = _after_blanks(text, end)
        if text.startswith(",", place):
            place += 1
        elif not text.startswith("]", place):
            raise BadInput(f"The JSON's list is cut off, or damaged, after line {line}.")


def _after_blanks(text: str, place: int) -> int:
    while text[place : place + 1] in BLANKS:
        place += 1
    return place
