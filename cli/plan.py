"""`tracer plan`: what a file would cost, and how long it takes, before a cent is spent."""

from typing import Annotated

import typer

from cli.plan_table import print_plan
from cli.planning import planner
from cli.reading import ReadAs, reads_files
from cli.render import AsJson, document, say
from cli.seed import Reading
from cli.spending import (
    BlueprintOption,
    BuyOption,
    CapOption,
    ClientOption,
    check_steps,
    read_spending,
)
from reconciler.operator.seeding.companies import Duplicates
from reconciler.operator.seeding.file import batch_name
from reconciler.operator.seeding.load import load
from reconciler.operator.seeding.route import parse_blueprint
from reconciler.operator.wording import plural

COUNTS = ("rows", "companies_new", "companies_known", "duplicates")


@reads_files
def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file, its URL, or - for stdin.")],
    blueprint: BlueprintOption,
    read_as: ReadAs = ReadAs(),  # noqa: B008 - the options' defaults
    cap: CapOption = None,
    buy: BuyOption = None,
    client: ClientOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many rows of the file. Default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a batch of this file would buy, and what that may cost and take; write nothing.

    Answers that are kept, caps and limits are those of the database. There need not be one yet.
    """
    route = parse_blueprint(blueprint)
    spending = read_spending(cap, buy, client)
    with planner() as store, read_as.open(file) as source:
        check_steps(store, route.steps, spending)
        with Reading(source) as shown:
            how = (0, limit, Duplicates.FILL, True, spending, None)
            found = load(store, source, batch_name(file), route, *how, shown.rows, shown.phase)
    if as_json:
        counts = {name: found[name] for name in COUNTS}
        document({**counts, "rejected": len(found["rejected"]), **found["plan"]})
        return
    say(
        f"{plural(found['companies_new'], 'company', 'companies')} new, "
        f"{found['companies_known']:,} known, {len(found['rejected']):,} rows rejected."
    )
    if found["plan"]["steps"]:
        print_plan(found["plan"])
    else:
        say("No step of the blueprint has a price or a provider: it costs nothing.")
