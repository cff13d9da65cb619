"""A step's input and its result; a step's file imports both from `workers.kit`."""

from datetime import datetime
from functools import cache
from typing import Any, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, create_model
from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Text, text
from sqlalchemy.orm import configure_mappers
from sqlalchemy.orm.attributes import opt_manager_of_class
from sqlmodel import Field, SQLModel
from sqlmodel.main import SQLModelMetaclass

from reconciler.contract.column_types import NAMING
from reconciler.contract.grants import SPECIAL
from reconciler.contract.secrets import read_secret

CHANGED = "_tracer_changed"
STATE = "_sa_instance_state"
RESULTS_SCHEMA = "results"  # holds the domain tables; the conductor has no USAGE on it


class ResultTables(SQLModelMetaclass):
    """Makes the column of an `int` a bigint: amounts and ids of others pass 2,147,483,647."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: Any, **options: Any) -> Any:
        """The class, with its columns widened before its table is made of them."""
        made = super().__new__(cls, name, bases, attributes, **options)
        for field_name, field in made.model_fields.items():
            column = vars(made).get(field_name)
            chosen = isinstance(getattr(field, "sa_type", None), type)
            if isinstance(column, Column) and type(column.type) is Integer and not chosen:
                column.type = BigInteger()
        return made

    def __init__(self, name: str, bases: tuple[type, ...], attributes: Any, **options: Any) -> None:
        """Map the class, and take back its own `__init__`.

        A mapping puts another in front of it, which makes SQLAlchemy's state for each row. Steps do
        not need that, and a row takes a fifth of the time without.
        """
        super().__init__(name, bases, attributes, **options)
        if manager := opt_manager_of_class(cast("Any", self)):
            type.__setattr__(self, "__init__", manager.original_init)


class StepResult(SQLModel, metaclass=ResultTables):
    """Base of the domain tables: one row is a step's newest result for one company.

    The tables are in a schema of their own. `tracer steps sync` creates them, not a revision: so a
    step is one file. The fields that are here are Tracer's, and not the step's own.
    `written_for`: the id of the batch that the row was written for. `written_with`: the version of
    the step's code. Both are None in rows that are older than these columns.
    """

    metadata = MetaData(schema=RESULTS_SCHEMA, naming_convention=NAMING)
    # A misspelt field is an error, or its value would be lost. NaN within a JSON column stays NaN
    # until it is written, and is refused there: by default it becomes null without a word.
    model_config = {"extra": "forbid", "ser_json_inf_nan": "constants"}

    company_id: int = Field(
        default=0,  # the lifecycle fills it in
        primary_key=True,
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    written_at: datetime | None = Field(
        default=None,
        nullable=False,
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": text("now()")},
    )
    written_for: int | None = Field(default=None, sa_type=Integer)
    written_with: str | None = Field(default=None, sa_type=Text)

    def __init_subclass__(cls, **given: Any) -> None:
        """Refuse a table or a field whose name is taken, with a clear message.

        Raises:
            TypeError: another step has a table of this name, or a name is Tracer's own.
        """
        super().__init_subclass__(**given)
        table = vars(cls).get("__tablename__", cls.__name__.lower())
        if table in SPECIAL:
            raise TypeError(f"{cls.__name__}: the table {table!r} is Tracer's own: rename it")
        if taken := _own_annotations(cls).intersection(TRACERS):
            names = ", ".join(sorted(taken))
            raise TypeError(f"{cls.__name__}: Tracer itself fills {names}: rename the field")
        if f"{RESULTS_SCHEMA}.{table}" in cls.metadata.tables:
            raise TypeError(f"another step has a table {table!r} already")

    def __init__(self, **values: Any) -> None:
        """A row with these values, validated by the types of its fields.

        SQLModel's own __init__ validates nothing, ignores unknown names, and takes 50 µs instead
        of 3.

        Raises:
            pydantic.ValidationError: a value does not fit, one is missing, or a name is unknown.
        """
        _make_readable(type(self))
        type(self).__pydantic_validator__.validate_python(values, self_instance=self)

    def __getattr__(self, name: str) -> Any:
        """SQLAlchemy's state of the row, made when it first asks for it."""
        manager = opt_manager_of_class(cast("Any", type(self))) if name == STATE else None
        if manager is None:  # pydantic's private attributes are found by this, too
            return super().__getattr__(name)  # type: ignore[misc]
        manager.setup_instance(self)
        return self.__dict__[STATE]

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; `revalidated` looks at it again."""
        super().__setattr__(name, value)
        if name != STATE:
            self.__dict__[CHANGED] = True

    def revalidated(self) -> Self:
        """This row, validated again if it may have changed since it was made.

        That is after a field was set, and for lists and the like, which change in place.

        Raises:
            pydantic.ValidationError: a value does not fit.
        """
        if CHANGED not in self.__dict__ and not any(map(is_container, self.__dict__.values())):
            return self
        values = {name: getattr(self, name) for name in field_names(type(self))}
        # `model_validate` makes an ORM object, which nobody needs: 50 µs instead of 6.
        fresh = object.__new__(type(self))
        type(self).__pydantic_validator__.validate_python(values, self_instance=fresh)
        return fresh


TRACERS = tuple(StepResult.model_fields)  # the columns of a domain table that no step fills


def _own_annotations(table: type[StepResult]) -> set[str]:
    """The names of the fields that a class has, with those of its bases, beside StepResult's."""
    own = (base for base in table.__mro__ if base not in StepResult.__mro__)
    return {name for base in own for name in vars(base).get("__annotations__", ())}


def own_fields(table: type[StepResult]) -> list[str]:
    """The fields that a step fills."""
    return [name for name in table.model_fields if name not in TRACERS]


T = TypeVar("T", bound=StepResult)


def stored_result(table: type[T], row: str) -> T:
    """The result that a row of its table holds; `row` is the row as JSON.

    The row may be older than the class: a column that has no value in it is None, whatever the
    field's type. A column that the class does not have is left out.

    Raises:
        pydantic.ValidationError: a value does not fit its field's type.
    """
    read = _any_row(table).model_validate_json(row)
    result = object.__new__(table)  # not an ORM object: see `revalidated`
    object.__setattr__(result, "__dict__", dict(read.__dict__))
    for name in ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
        object.__setattr__(result, name, getattr(read, name))
    return result


@cache
def _make_readable(table: type[StepResult]) -> None:  # noqa: ARG001 - once for each
    """Have SQLAlchemy finish the mapping: without that, no field of a row can be read."""
    configure_mappers()


@cache
def _any_row(table: type[StepResult]) -> type[BaseModel]:
    """A model of the table's rows in which each field may be missing or null."""
    _make_readable(table)
    kinds = {name: cast("Any", field.annotation) for name, field in table.model_fields.items()}
    fields: dict[str, Any] = {name: (kind | None, None) for name, kind in kinds.items()}
    return create_model(f"{table.__name__}Row", __config__=ConfigDict(extra="ignore"), **fields)


@cache
def field_names(table: type[StepResult]) -> tuple[str, ...]:
    """The names of a class's fields: pydantic makes the mapping anew each time, in 5 µs."""
    return tuple(table.model_fields)


CONTAINERS = (list, dict, set, tuple)  # not a union, which takes isinstance five times as long


def is_container(value: Any) -> bool:
    """Whether a value can change without being set again."""
    return isinstance(value, CONTAINERS)


class Company(BaseModel, frozen=True):
    """A company as a step function gets it, read when the attempt begins.

    `name`, `domain` and `attributes` are those of the batch's own file, over what other files have
    said. `domain` is the company's own host, bare and in one form.
    `idempotency_key` is the same for all attempts of this step at this company in this batch, and
    different for anything else. An API that gets it can tell a repetition from a new order.
    A test of a step needs to name the `key` alone.
    """

    id: int = 1
    key: str
    name: str | None = None
    domain: str | None = None
    attributes: dict[str, Any] = {}
    idempotency_key: str = "tracer-test"

    def secret(self, name: str) -> str:
        """The value of a secret, from the worker's environment or its `.env`.

        Results, errors and log lines show `***` in its place.

        Raises:
            MissingSecret: it is not set, so the row becomes FAILED at once.
        """
        return read_secret(name)
