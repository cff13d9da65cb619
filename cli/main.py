"""`tracer`: the commands in the order of their use, and what becomes of an error."""

from collections.abc import Sequence

import psycopg
import typer

from cli import (
    batches,
    bench,
    db,
    doctor,
    export,
    interval,
    local,
    reconcile,
    seed,
    steer,
    steps,
    tune,
)
from cli.render import say
from reconciler.contract.errors import TracerError
from reconciler.contract.outage import first_line

app = typer.Typer(
    name="tracer",
    help="Take batches of companies through a blueprint of enrichment steps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(local.demo)
app.command()(local.up)
app.command()(local.down)
app.add_typer(db.app, name="db")
app.add_typer(steps.app, name="steps")
app.command()(seed.seed)
app.command(name="batches")(batches.batches)
app.command()(batches.inspect)
app.command()(steer.explain)
app.command()(steer.retry)
app.command()(steer.pause)
app.command()(steer.resume)
app.command()(steer.cancel)
app.command()(export.export)
app.command(name="reconcile")(reconcile.reconcile)
interval.app.command(name="tune")(tune.tune)
app.add_typer(interval.app, name="interval")
app.command(name="doctor")(doctor.doctor)
app.command(name="bench")(bench.bench)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code: 0 done, 1 failed, 2 bad input, 3 unreachable."""
    try:
        app(list(arguments), prog_name="tracer")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except TracerError as error:
        say(str(error))
        return error.exit_code
    except psycopg.OperationalError as error:
        say(f"The database went away: {first_line(error)}. Run the command again when it is back.")
        return 3
    return 0
