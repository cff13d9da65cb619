"""How fast a file is seeded: `python -m tests.bench.seed [--companies 1000000]`, one JSON line.

`tracer seed` runs as a program of its own, on a Postgres of its own that is as durable as Postgres
is by default. The rows that it made are then copied bare into a second database of that server:
COPY alone, in one transaction, with all indexes and constraints in place. `ratio` is the speed of
the seeding to that of the bare COPY.
"""

import argparse
import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from reconciler.local.postgres import supervisor
from reconciler.operator.seeding import batch
from reconciler.operator.sql import learning, seeding
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from workers.runtime.loading import load_steps

HEADER = (
    *("Company Name", "Company Website", "Industry", "Country", "Headquarters", "Employees"),
    *("Founded", "LinkedIn URL"),
)
SYLLABLES = (
    *("al", "an", "ar", "ba", "be", "ca", "co", "da", "den", "el", "fa", "fer", "ga", "hol", "in"),
    *("jo", "ka", "la", "lo", "ma", "mi", "nor", "ol", "or", "pa", "per", "qui", "ra", "ri", "sa"),
    *("sol", "ta", "ter", "un", "va", "ver", "wi", "xen", "yo", "za"),
)
FORMS = ("Inc.", "LLC", "GmbH", "S.A.", "Ltd", "Holdings, Inc.", "AG", "Pty Ltd", "& Söhne KG")
ENDINGS = ("com", "com", "com", "io", "de", "co.uk", "fr", "com.au", "net")
INDUSTRIES = (
    *("Application Software", "Health Care Equipment", "Building Products", "Regional Banks"),
    *("Oil & Gas Exploration & Production", "Property & Casualty Insurance", "Restaurants"),
)
PLACES = (
    *(("Saint Paul, Minnesota", "United States"), ("Dublin", "Ireland"), ("München", "Germany")),
    *(("San Francisco, California", "United States"), ("São Paulo", "Brazil"), ("Lyon", "France")),
)
TABLES = ("batches", "companies", "batch_companies", "workflow_states")
BLOCK = 1024 * 1024
LOGGED = re.compile(r"duration: ([\d.]+) ms  (?:statement|execute [^:]*): (.*?)(?=\n\S|\Z)", re.S)


def write_companies(path: Path, companies: int) -> None:
    """A company list as they come: eight columns, some of them quoted, in no order."""
    pick = random.Random(20).choice
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(companies):
            word = "".join(pick(SYLLABLES) for _ in range(4))
            host = f"{word}{number % 997}{number // 997}"
            place, country = pick(PLACES)
            names = f"{word.title()} {pick(FORMS)}", f"https://www.{host}.{pick(ENDINGS)}/"
            counts = number % 90_000 + 1, 1900 + number % 125
            link = f"https://www.linkedin.com/company/{host}"
            writer.writerow([*names, pick(INDUSTRIES), country, place, *counts, link])


def database(url: str, name: str) -> str:
    """The URL of another database of the server."""
    return url.replace("/tracer?", f"/{name}?")


@contextmanager
def server(home: Path) -> Iterator[str]:
    """The URL of a new server's database, migrated and alone; `tracer_bare` is one like it."""
    home.mkdir()
    home.chmod(0o755)  # root's Postgres runs as another user, who must reach it
    url = supervisor.acquire(home)
    try:
        upgrade_schema(url)
        sync_steps(url, load_steps())
        with psycopg.connect(database(url, "postgres"), autocommit=True) as admin:
            admin.execute("CREATE DATABASE tracer_bare TEMPLATE tracer")
            admin.execute("ALTER DATABASE tracer SET log_min_duration_statement = 0")
        yield url
    finally:
        supervisor.stop(home)


def checkpoint(url: str) -> None:
    """Have what was written so far be no burden to what is timed next."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def seed(url: str, file: Path, home: Path) -> tuple[float, float]:
    """Seconds and peak memory (RSS, MB) of `tracer seed`."""
    command = [Path(sys.executable).parent / "tracer", "seed", file, "--blueprint", "normalize"]
    environment = os.environ | {"DATABASE_URL": url, "TRACER_HOME": str(home)}
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--json"], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("tracer seed failed")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return seconds, usage.ru_maxrss * unit / 1e6


def by_statement(log: str) -> dict[str, float]:
    """Seconds by statement of the seeding, as the server's log has them."""
    constants = (vars(batch) | vars(seeding) | vars(learning)).items()
    texts = [(n, text) for n, text in constants if isinstance(text, str) and n.isupper()]
    statements = {name: " ".join(text.split()) for name, text in texts}
    starts = {re.split(r"%\(|\{", text)[0]: name for name, text in statements.items()}
    starts["COMMIT"] = "COMMIT"
    found: dict[str, float] = {}
    for milliseconds, statement in LOGGED.findall(log):
        text = " ".join(statement.split())
        for name in (name for start, name in starts.items() if text.startswith(start)):
            found[name] = found.get(name, 0) + float(milliseconds) / 1000
    return found


def unload(url: str, folder: Path) -> None:
    """The finished rows into files, as COPY takes them."""
    with psycopg.connect(url) as connection:
        for table in TABLES:
            query = f"COPY (SELECT * FROM {table} ORDER BY 1, 2) TO STDOUT"
            with (folder / table).open("wb") as file, connection.cursor().copy(query) as copy:
                file.writelines(copy)


def copy_bare(url: str, folder: Path) -> dict[str, float]:
    """Seconds of COPY by table, and of the commit."""
    found: dict[str, float] = {}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("BEGIN")
        for table in TABLES:
            started = time.perf_counter()
            query = f"COPY {table} FROM STDIN"
            with (folder / table).open("rb") as file, connection.cursor().copy(query) as copy:
                while block := file.read(BLOCK):
                    copy.write(block)
            found[table] = time.perf_counter() - started
        started = time.perf_counter()
        connection.execute("COMMIT")
        found["COMMIT"] = time.perf_counter() - started
    return found


def measure(companies: int, folder: Path) -> dict[str, object]:
    """Seed a file of so many companies, then copy what came of it."""
    file, home = folder / "companies.csv", folder / "home"
    write_companies(file, companies)
    with server(home) as url:
        checkpoint(url)
        seconds, rss_mb = seed(url, file, home)
        parts = by_statement((home / "postgres.log").read_text())
        unload(url, folder)
        checkpoint(url)
        bare = copy_bare(database(url, "tracer_bare"), folder)
    parts["outside"] = seconds - sum(parts.values())
    return {
        "rows": companies,
        "seed_s": round(seconds, 2),
        "bare_copy_s": round(sum(bare.values()), 2),
        "ratio": round(sum(bare.values()) / seconds, 3),
        "rows_per_s": round(companies / seconds),
        "rss_mb": round(rss_mb),
        "seed_parts_s": {name: round(value, 2) for name, value in parts.items()},
        "bare_parts_s": {name: round(value, 2) for name, value in bare.items()},
    }


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--companies", type=int, default=1_000_000)
    companies = parser.parse_args().companies
    folder = Path(tempfile.mkdtemp(prefix="tracer-bench-"))
    folder.chmod(0o755)
    try:
        sys.stdout.write(json.dumps(measure(companies, folder)) + "\n")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
