"""What a step returns is what is validated last: nothing of it changes unseen after that."""

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Column, Integer, LargeBinary, MetaData
from sqlmodel import Field

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
