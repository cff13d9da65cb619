"""An app whose functions are slow, concurrent, batched or broken: what containers are tried with.

Deploy it with `modal deploy tests/standins/controlplane/sample.py`.
"""

import asyncio
import importlib.util
import os
import time

import modal

app = modal.App("sample")


@app.function()
def nap(seconds: float) -> int:
    """Take one input at a time; the process that did."""
    time.sleep(seconds)
    return os.getpid()


@app.function()
@modal.concurrent(max_inputs=4)
async def nap_async(seconds: float) -> tuple[float, float]:
    """When it began and when it ended."""
    began = time.time()
    await asyncio.sleep(seconds)
    return began, time.time()


@app.function()
@modal.concurrent(max_inputs=4)
def nap_threaded(seconds: float) -> int:
    """As `nap`, with four inputs at a time on threads."""
    time.sleep(seconds)
    return os.getpid()


@app.function()
@modal.batched(max_batch_size=3, wait_ms=500)
def squares(numbers: list[int]) -> list[tuple[int, int]]:
    """Each number's square, and how many came together."""
    return [(number * number, len(numbers)) for number in numbers]


@app.function(timeout=1)
def endless() -> None:
    """Longer than it may."""
    time.sleep(60)


@app.function()
def importable(name: str) -> bool:
    """Whether a module is there, as far as the container sees."""
    return importlib.util.find_spec(name) is not None


@app.function()
def broken(message: str) -> None:
    """Never succeeds."""
    raise ValueError(message)
