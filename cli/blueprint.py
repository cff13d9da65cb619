"""`tracer blueprint`: the route of a batch, and what came of each place."""

from collections.abc import Iterator, Sequence
from typing import Any

from cli.inspect.details import OUTCOMES, tried
from cli.render import AsJson, BatchName, document, out, table
from reconciler.operator import views
from reconciler.operator.read_only import ViewStore, read_only_store

ONLY, FIRST, BETWEEN, LAST = " ", "┌", "│", "└"
ALWAYS = ("tried", "found")  # the other columns are left out where they have nothing to say
IN_ASCII = str.maketrans({FIRST: "/", BETWEEN: "|", LAST: "\\"})


def blueprint(batch: BatchName, as_json: AsJson = False) -> None:
    """Show the way through a batch's blueprint, and what came of each place.

    The steps of a waterfall stand beside one line. Those below are asked only for companies that
    those above have not found; "not asked" counts the others.
    """
    with read_only_store(ViewStore) as store:
        found = store.batch(batch)
        places = views.places(store, found)
    if as_json:
        document({"batch": batch, "blueprint": found.blueprint, "places": places})
        return
    marks = "".join(beside(places))
    if out.options.ascii_only:
        marks = marks.translate(IN_ASCII)
    names = [f"{mark} {place['step']}" for mark, place in zip(marks, places, strict=True)]
    rows = [[*tried(place), f"{place['not_asked']:,}"] for place in places]
    columns = dict(zip((*OUTCOMES, "not asked"), zip(*rows, strict=True), strict=True))
    shown = {name: cells for name, cells in columns.items() if name in ALWAYS or any_of(cells)}
    lines = zip(names, *shown.values(), strict=True)
    out.print(table(["step", *(f"#{name}" for name in shown)], [[*line] for line in lines]))


def any_of(cells: Sequence[str]) -> bool:
    """Whether a column has anything but nothing."""
    return any(cell not in ("", "0") for cell in cells)


def beside(places: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What stands beside each place: the steps of a waterfall have one line."""
    past = [place["past"] for place in places]
    for number, end in enumerate(past):
        if end is None:
            yield ONLY
        elif number == 0 or past[number - 1] != end:
            yield FIRST
        else:
            yield LAST if number + 1 == end else BETWEEN
