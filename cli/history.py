"""`tracer history`: the acts of operators on a batch."""

from shlex import quote
from typing import Any

from cli.render import AsJson, BatchName, document, out, table
from reconciler.operator.history import read_history
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.seeding.route import written
from reconciler.operator.wording import plural


def history(batch: BatchName, as_json: AsJson = False) -> None:
    """Show the acts of operators on a batch: time, user, command, and number of rows.

    For pause, resume and priority, the number is that of the rows that were PENDING then.
    """
    with read_only_store(ViewStore) as store:
        lines = read_history(store, store.batch(batch))
    if as_json:
        document({"batch": batch, "history": lines})
        return
    cells = [[line["at"], line["who"], words(line), f"{line['rows']:,}"] for line in lines]
    out.print(table(["when", "who", "what", "#rows"], cells))


def words(line: dict[str, Any]) -> str:
    """The verb and what it was given, as they are typed."""
    detail = dict(line["detail"])
    if "to" in detail:
        return f"{line['verb']} {detail['from']} -> {detail['to']}"
    file = [quote(detail.pop("file"))] if "file" in detail else []
    changed = detail.pop("changed", 0)
    changes = (
        [f"(changed {plural(changed, 'known company', 'known companies')})"] if changed else []
    )
    options = (option(name, value) for name, value in sorted(detail.items()))
    return " ".join([line["verb"], *file, *options, *changes])


def option(name: str, value: Any) -> str:
    """An option as it is typed; one that is only there or not has no value."""
    if value is True:
        return f"--{name}"
    if name == "blueprint":
        value = written(value)
    return f"--{name} {quote(','.join(value) if isinstance(value, list) else str(value))}"
