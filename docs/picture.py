"""Draws docs/demo.svg from a running demo: start `tracer demo`, then this in a second terminal."""

import re
import time
from pathlib import Path

from rich.console import Console, RenderableType

from cli.demo import results
from cli.inspect.progress import overview
from reconciler.contract.errors import BadInput
from reconciler.operator import views
from reconciler.operator.connect import operator
from reconciler.operator.store import OperatorStore

FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # rich would have them fetched from afar
PICTURE = Path(__file__).with_name("demo.svg")


def midway(store: OperatorStore) -> RenderableType:
    """The batch when its last step has begun and is not done."""
    while True:
        try:
            progress = views.progress(store, store.batch("demo"))
        except BadInput:
            continue  # not seeded yet
        if 0 < progress["steps"][-1]["COMPLETED"] < progress["companies"]:
            return overview(progress)
        time.sleep(0.02)


def main() -> None:
    """Watch the batch `demo`, and save what its terminal shows as a picture."""
    console = Console(record=True, width=90, force_terminal=True)
    with operator() as store:
        console.print("$ make demo", style="dim")
        console.print(midway(store))
        while store.batch("demo").status == "RUNNING":
            time.sleep(0.1)
        console.print(overview(views.progress(store, store.batch("demo"))))
        console.print(results(store, "demo"))
    picture = console.export_svg(title="tracer demo")
    PICTURE.write_text(FONTS.sub("", picture))


if __name__ == "__main__":
    main()
