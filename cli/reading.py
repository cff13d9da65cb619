"""The options that say how a file of companies is read: of `tracer seed` and `tracer try`."""

from collections.abc import Sequence
from typing import Annotated

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


def open_file(
    file: str,
    map_: Sequence[str] | None,
    key: str | None,
    shared_hosts: str | None,
    system: str | None,
    format_: str | None,
    encoding: str,
    delimiter: str | None,
    quotes: Quotes,
    skip_lines: int | None,
    sheet: str | None,
) -> SeedFile:
    """Open a file as these options say: see `open_seed_file`."""
    return open_seed_file(
        file,
        mapping=parse_mapping(map_),
        key=key,
        shared=shared_hosts,
        system=system,
        format=format_,
        encoding=encoding,
        delimiter=delimiter,
        quotes=quotes,
        skip_lines=skip_lines,
        sheet=sheet,
    )


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
