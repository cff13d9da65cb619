"""What a step returns is what is validated last: nothing of it changes unseen after that."""

import json
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from pydantic import PrivateAttr, ValidationError
from sqlalchemy import Column, Integer, LargeBinary, MetaData, text
from sqlmodel import Field, Session, create_engine, select

from reconciler.contract.results import StepResult
from workers.kit import Company, step
from workers.steps.step_a import StepA


class Document(StepResult):
    """Fields that can change in place."""

    tags: list[int] = Field(default_factory=list)
    doc: dict[str, Any] = Field(default_factory=dict)
    size: int | None = Field(None, ge=0)


class Apart(StepResult):
    """Tables of this test alone."""

    metadata = MetaData()


def test_a_result_that_nobody_changed_is_validated_once() -> None:
    result = StepA(attribute_count=1)
    assert result.revalidated() is result


def test_a_value_that_does_not_fit_is_found_though_the_step_caught_the_error() -> None:
    result = StepA(attribute_count=1)
    result.attribute_count = "many"  # type: ignore[assignment]
    with pytest.raises(ValidationError, match="attribute_count"):
        result.revalidated()
    sized = Document(size=1)
    sized.size = -5
    with pytest.raises(ValidationError, match="size"):
        sized.revalidated()


def test_what_changes_in_place_is_validated_again() -> None:
    result = Document(tags=[1])
    result.tags.append("no int")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="tags"):
        result.revalidated()
    result.tags[1] = 2
    assert result.revalidated().tags == [1, 2]


def test_a_row_is_still_one_of_sqlalchemy_when_it_asks(url: str) -> None:
    row = StepA(company_id=1, attribute_count=2)
    assert "_sa_instance_state" not in vars(row)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    with Session(engine) as session:
        session.execute(text("SET session_replication_role = replica"))  # there is no company 1
        session.add(row)
        session.commit()
        row.attribute_count = 3
        session.commit()
        assert session.exec(select(StepA.attribute_count)).all() == [3]
    engine.dispose()
    with pytest.raises(AttributeError, match="'StepA' object has no attribute 'nothing'"):
        _ = row.nothing  # type: ignore[attr-defined]


class Private(StepResult, table=True):
    _note: str = PrivateAttr(default="none")


def test_a_private_attribute_of_a_row_can_be_read() -> None:
    assert Private()._note == "none"


def test_nan_in_a_document_stays_nan_until_it_is_refused() -> None:
    dumped = Document(doc={"price": float("nan")}).model_dump(mode="json")
    with pytest.raises(ValueError, match="Out of range float"):
        json.dumps(dumped, allow_nan=False)


class Renamed(Apart, table=True):
    count: int = Field(sa_column=Column("employee_count", Integer))


class Excluded(Apart, table=True):
    secret: int = Field(exclude=True)


class Binary(Apart, table=True):
    logo: bytes = Field(sa_column=Column(LargeBinary))


@pytest.mark.parametrize(
    ("table", "field"), [(Renamed, "count"), (Excluded, "secret"), (Binary, "logo")]
)
def test_a_field_that_would_be_lost_is_refused_by_the_decorator(
    table: type[StepResult], field: str
) -> None:
    def lossy(company: Company) -> StepResult: ...  # type: ignore[empty-body]

    lossy.__annotations__["return"] = table
    with pytest.raises(TypeError, match=f"{table.__name__} cannot keep {field}: "):
        step()(lossy)


def test_a_stored_result_can_be_read_before_any_object_was_made() -> None:
    """In a program of its own: what the first object sets up holds for all classes."""
    program = (
        "from reconciler.contract.results import stored_result;"
        "from workers.steps.step_a import StepA;"
        """found = stored_result(StepA, '{"company_id": 1, "attribute_count": 7}');"""
        "print(found.attribute_count, found.written_at)"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.stdout == "7 None\n", said.stderr


@pytest.mark.parametrize("name", ["company_id", "written_at", "written_for", "written_with"])
def test_a_field_that_tracer_fills_is_refused_in_a_class(name: str) -> None:
    with pytest.raises(TypeError, match=f"Mine: Tracer itself fills {name}: rename the field"):
        type("Mine", (Apart,), {"__annotations__": {name: "str | None"}, name: None})


def test_the_name_of_a_table_of_tracer_is_refused() -> None:
    with pytest.raises(TypeError, match="the table 'superseded' is Tracer's own: rename it"):
        type("Mine", (Apart,), {"__tablename__": "superseded"})
    with pytest.raises(TypeError, match="the table 'superseded' is Tracer's own: rename it"):
        type("Superseded", (Apart,), {})

    def superseded(company: Company) -> StepA: ...  # type: ignore[empty-body]

    with pytest.raises(TypeError, match="superseded is Tracer's own: give the step another name"):
        step()(superseded)
