"""`tracer db`: upgrade the schema, show its revision and its URL, and make the roles."""

from typing import Annotated

import typer

from cli.render import AsJson, answer, document, say
from cli.steps import UP_TO_DATE, synced
from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.database import connect
from reconciler.contract.database_url import location
from reconciler.contract.errors import BadInput
from reconciler.contract.grants import ROLES
from reconciler.contract.revision import is_current, revision
from reconciler.contract.settings import load_settings
from reconciler.operator.connect import database_url, existing_database_url
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.role_urls import STDOUT, open_urls, set_passwords, urls_of
from reconciler.schema.roles import make_roles, shortcomings

app = typer.Typer(help="Upgrade the schema, make the roles, show the URL.", no_args_is_help=True)


@app.command(epilog="Example: tracer db upgrade")
def upgrade(as_json: AsJson = False) -> None:
    """Run the migrations, then register the steps of the packages in TRACER_STEPS."""
    url = database_url(load_settings())
    before = upgrade_schema(url)
    moved = f"{before or 'none'} -> {SCHEMA_REVISION}"
    schema = f"Schema: {moved}" if before != SCHEMA_REVISION else "Schema: up to date"
    if not as_json:
        say(schema)  # now: registering the steps may fail
    changes, faults = synced(url)
    done = {"before": before, "revision": SCHEMA_REVISION, "changes": changes, "faults": faults}
    answer(as_json, done, *(changes or [UP_TO_DATE]), *faults)
    if faults:
        raise typer.Exit(BadInput.exit_code)


@app.command(epilog="Example: tracer db status")
def status(as_json: AsJson = False) -> None:
    """Show the database's revision; exit code 1 if it is not the one that this Tracer needs."""
    url = existing_database_url(load_settings())
    with connect(url) as connection:
        found, current = revision(connection), is_current(connection)
    if as_json:
        document({"revision": found, "needed": SCHEMA_REVISION, "current": current})
    else:
        say(f"The {location(url)} is at revision {found or 'none'}; needed is {SCHEMA_REVISION}.")
    if not current:
        if not as_json:
            newer = found is not None and found > SCHEMA_REVISION
            say("Update Tracer." if newer else "Run `tracer db upgrade`.")
        raise typer.Exit(1)


@app.command("url", epilog="Example: tracer db url")
def url_(as_json: AsJson = False) -> None:
    """Print the database's URL with its password: `psql "$(tracer db url)"`.

    Without DATABASE_URL, this starts the embedded Postgres and prints its URL. It stays up while
    something is connected to it, and for half a minute after.
    """
    found = existing_database_url(load_settings())
    document({"url": found}) if as_json else typer.echo(found)


@app.command(epilog="Example: tracer db roles")
def roles(
    urls: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Set new passwords, and write the roles' URLs to this file (- is stdout).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the roles of conductor, worker and operator, or fix their grants.

    Exit code 1 if a role still has too few or too many rights, for a reason that grants cannot fix.
    """
    if urls == STDOUT and as_json:
        raise BadInput("--json prints no passwords: give --urls a file.")
    url = database_url(load_settings())
    with connect(url) as connection, open_urls(urls) as write:
        made = make_roles(connection)
        wrong = shortcomings(connection)
        if write:
            write(urls_of(connection, url, set_passwords(connection)))
    if as_json:
        found = [{"role": role, "created": role in made} for role in ROLES]
        document({"roles": found, "passwords": "new" if urls else "kept", "wrong": wrong})
    else:
        for role in ROLES:
            say(f"{role}: {'made, ' if role in made else ''}granted what it needs")
        for line in wrong:
            say(line)
        if made and not urls:
            say("New roles have no password: `tracer db roles --urls FILE` sets and writes them.")
    if wrong:
        raise typer.Exit(1)
