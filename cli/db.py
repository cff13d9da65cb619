"""`tracer db`: bring the schema to what this code needs, and say where it is."""

from pathlib import Path

import typer
from alembic import command
from alembic.config import Config

from cli.connect import database_url
from cli.render import AsJson, document, say
from cli.steps import sync_steps
from reconciler.contract.columns import SCHEMA_REVISION
from reconciler.contract.database import connect, place, revision
from reconciler.contract.errors import BadInput
from reconciler.contract.settings import load_settings

app = typer.Typer(help="The database's schema.", no_args_is_help=True)
REVISIONS = Path(__file__).parent.parent / "alembic"


@app.command()
def upgrade() -> None:
    """Run the migrations, then register the steps that are in `workers/steps/`."""
    url = database_url(load_settings())
    before = upgrade_schema(url)
    say(
        f"Schema: {before or 'none'} -> {SCHEMA_REVISION}"
        if before != SCHEMA_REVISION
        else "Schema: up to date"
    )
    for line in sync_steps(url):
        say(line)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say at which revision the database is; exit code 1 when `db upgrade` is needed."""
    url = database_url(load_settings())
    with connect(url) as connection:
        found = revision(connection)
    if as_json:
        document(
            {"revision": found, "needed": SCHEMA_REVISION, "current": found == SCHEMA_REVISION}
        )
    else:
        say(f"The {place(url)} is at revision {found or 'none'}; needed is {SCHEMA_REVISION}.")
    if found != SCHEMA_REVISION:
        if not as_json:
            say("Run `tracer db upgrade`.")
        raise typer.Exit(1)


def upgrade_schema(url: str) -> str | None:
    """Migrate to `SCHEMA_REVISION`; returns the revision before.

    Raises:
        Unreachable: no database answers.
        BadInput: the database is newer than this code.
    """
    with connect(url) as connection:
        before = revision(connection)
    if before and before > SCHEMA_REVISION:
        raise BadInput(
            f"The database is at revision {before}, newer than this Tracer: update Tracer."
        )
    config = Config(attributes={"database_url": url})
    config.set_main_option("script_location", str(REVISIONS).replace("%", "%%"))
    command.upgrade(config, "head")
    return before
