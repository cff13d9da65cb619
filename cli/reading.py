"""The options that say how a file of companies is read: of `tracer seed` and `tracer try`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.columns import FIELDS
from reconciler.operator.seeding.dialect import Quotes
from reconciler.operator.seeding.file import FORMATS, SeedFile, open_seed_file

ColumnMap = Annotated[
    list[str] | None,
    typer.Option("--map", help="FIELD=COLUMN: the column of key, name or domain."),
]
KeyColumns = Annotated[
    str | None,
    typer.Option("--key", help="The columns that say which company a row is, best first: a,b,c."),
]
SharedHosts = Annotated[
    str | None,
    typer.Option(help="A file with more hosts that many companies share, one per line."),
]
System = Annotated[
    str | None,
    typer.Option("--source", help="The system that the ids in key columns are of, such as crm."),
]
FileFormat = Annotated[
    str | None,
    typer.Option("--format", help=f"{', '.join(FORMATS)}. Default: by the file's suffix."),
]
Encoding = Annotated[str, typer.Option(help="The encoding of the text.")]
Delimiter = Annotated[
    str | None,
    typer.Option(help="The character between CSV's cells, or tab. Default: by the first rows."),
]
QuotesOption = Annotated[
    Quotes,
    typer.Option("--quotes", help="How CSV writes a quote in a value; none: quotes are values'."),
]
SkipLines = Annotated[
    int | None,
    typer.Option(min=0, help="So many lines are before the header. Default: found by the rows."),
]
Sheet = Annotated[str | None, typer.Option(help="The sheet of an Excel file.")]


@dataclass(frozen=True)
class ReadAs:
    """How a file is read: the options that a command has in the place of its `read_as`."""

    map_: ColumnMap = None
    key: KeyColumns = None
    shared_hosts: SharedHosts = None
    system: System = None
    format_: FileFormat = None
    encoding: Encoding = "utf-8"
    delimiter: Delimiter = None
    quotes: QuotesOption = Quotes.DOUBLED
    skip_lines: SkipLines = None
    sheet: Sheet = None

    def open(self, file: str) -> SeedFile:
        """Open a file so: see `open_seed_file`."""
        return open_seed_file(
            file,
            mapping=parse_mapping(self.map_),
            key=self.key,
            shared=self.shared_hosts,
            system=self.system,
            format=self.format_,
            encoding=self.encoding,
            delimiter=self.delimiter,
            quotes=self.quotes,
            skip_lines=self.skip_lines,
            sheet=self.sheet,
        )


OPTIONS = [
    Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
    for f in fields(ReadAs)
]


def reads_files(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `ReadAs`, one by one, for its parameter `read_as`."""
    parameters = list(signature(command).parameters.values())
    place = [one.name for one in parameters].index("read_as")
    parameters[place : place + 1] = OPTIONS

    @wraps(command)
    def run(**given: Any) -> None:
        read_as = ReadAs(**{one.name: given.pop(one.name) for one in OPTIONS})
        command(**given, read_as=read_as)

    shown = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
    run.__signature__ = Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    return run


def parse_mapping(given: Sequence[str] | None) -> dict[str, str]:
    """The column by field, of texts like `field=Column`.

    Raises:
        BadInput: a text has another form, or its field is unknown.
    """
    mapping = {}
    for text in given or ():
        field, separator, column = text.partition("=")
        if not separator or field not in FIELDS:
            says = f"--map {text!r}: write FIELD=COLUMN, with key, name or domain as FIELD."
            raise BadInput(says)
        mapping[field] = column
    return mapping
