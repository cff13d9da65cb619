"""Draws docs/demo.svg from a demo that it runs, in a home of its own: a minute."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console, RenderableType

from cli.demo import results, see_sample
from cli.demo_figures import Round, ending
from cli.inspect.progress import overview
from reconciler.contract.errors import TracerError
from reconciler.operator import views
from reconciler.operator.connect import operator
from reconciler.operator.money.booked import Booked
from reconciler.operator.store import OperatorStore
from workers.sample.account import Account

FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # rich would have them fetched from afar
PICTURE = Path(__file__).with_name("demo.svg")


def opened() -> OperatorStore:
    """The demo's database, as soon as it is there."""
    while True:
        try:
            store = operator()
            store.batch("demo")
        except TracerError:
            time.sleep(0.2)
            continue
        return store


def midway(store: OperatorStore) -> RenderableType:
    """The batch when its last step has begun and is not done."""
    while True:
        progress = views.progress(store, store.batch("demo"))
        if 0 < progress["steps"][-1]["COMPLETED"] < progress["companies"] - 10:
            return overview(progress)
        time.sleep(0.02)


def round_of(told: dict[str, Any]) -> Round:
    """A round, as `tracer demo --json` tells it."""
    booked = Booked(**told["booked"], left=0)
    return Round(told["batch"], Account(**told["provider"]), booked)


def main() -> None:
    """Run the demo, and save what its terminal shows as a picture."""
    console = Console(record=True, width=90, force_terminal=True)
    with TemporaryDirectory() as home:
        os.environ["TRACER_HOME"] = home
        command = [Path(sys.executable).with_name("tracer"), "demo", "--json"]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE)
        see_sample("")
        with opened() as store:
            console.print("$ make demo", style="dim")
            console.print(midway(store))
            while store.batch("demo").status == "RUNNING":
                time.sleep(0.1)
            console.print(overview(views.progress(store, store.batch("demo"))))
            console.print(results(store, "demo"))
        told, _ = demo.communicate()
    first, second = (round_of(one) for one in json.loads(told)["rounds"])
    console.print()
    console.print(ending(first, second))
    picture = console.export_svg(title="tracer demo")
    PICTURE.write_text(FONTS.sub("", picture))


if __name__ == "__main__":
    main()
