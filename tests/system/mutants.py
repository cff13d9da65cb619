"""Takes each guard away, one at a time, and says which test notices: `make mutants`.

The guards are found in the statements by their form: a status, an attempt, a lease, a flag, what is
skipped or held. Each mutant is a copy of the repository with that one place changed. Ends with 1
when one survives. `--write` puts the table into docs/mutants.md.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACT = (
    *("conditions", "held", "limits", "claim", "orders", "buying"),
    *("tick", "dispatch", "worker"),
)
MODULES = {
    **{name: f"reconciler/contract/sql/{name}.py" for name in CONTRACT},
    "steering": "reconciler/operator/sql/steering.py",
    "revision_0017": "alembic/versions/0017_error_texts.py",
}
TABLE = ROOT / "docs" / "mutants.md"
OF_LIMITS = ("test_provider_limits", "test_long_windows", "test_calls_at_a_time", "test_pauses")
TESTS = (
    *(
        "test_transitions",
        "test_advancing",
        "test_waterfalls",
        "test_dispatch",
        "test_cancel",
        "test_attempts",
        "test_leases",
        "test_losses",
        "test_holds",
        "test_superseded",
    ),
    *(
        "test_claim",
        "test_tick",
        "test_explain",
        "test_plans",
        "test_migrations",
        "test_error_texts",
    ),
    *(
        "test_steering",
        "test_history",
        "test_pay_once",
        "test_order_guards",
        "test_buying_guards",
        "test_orders",
        "test_interleavings",
    ),
    *OF_LIMITS,
)
# Those that are about a module's statements come first, since the first that fails is enough.
FIRST = {
    "conditions": (
        *("test_waterfalls", "test_order_guards", "test_advancing", "test_losses", "test_tick"),
    ),
    "held": ("test_buying_guards", "test_transitions", "test_dispatch"),
    "limits": OF_LIMITS,
    "claim": ("test_claim", "test_dispatch", "test_plans", *OF_LIMITS),
    "orders": ("test_order_guards", "test_orders", "test_pay_once", *OF_LIMITS),
    "buying": (
        *("test_buying_guards", "test_order_guards", "test_calls_at_a_time"),
        *("test_orders", "test_pay_once"),
    ),
    "tick": (
        "test_tick",
        "test_cancel",
        "test_leases",
        "test_plans",
    ),
    "dispatch": (
        "test_cancel",
        "test_dispatch",
        "test_transitions",
        "test_plans",
    ),
    "worker": ("test_losses", "test_superseded", "test_leases", "test_transitions", "test_holds"),
    "steering": (
        "test_steering",
        "test_attempts",
        "test_cancel",
    ),
    "0017_error_texts": ("test_error_texts", "test_attempts"),
}
HANGS_S = 60  # a test that takes so long waits for a lock that it should pass over
COPIED = ("alembic", "cli", "reconciler", "tests", "workers", "pyproject.toml", "README.md")

HEAD = """# Each guard of a statement, and the test that fails without it

Written by `make mutants`: it takes one guard away, and runs the tests until one fails.
"""

# What a guard looks like, and what is left when it is gone.
FORMS = (
    (r"AND \w+\.status = '[A-Z_]+'", ""),
    (r"AND \w+\.status IN \('[A-Z_]+', '[A-Z_]+'\)", ""),
    (r"AND status (?:=|<>|IN) (?:'[A-Z_]+'|\([^)]*\))", ""),
    (r"AND w\.attempt = held\.attempt", ""),
    (r"(?<=WHERE )(?:\w+\.)?status (?:=|<>|IN) (?:'[A-Z_]+'|\([^)]*\))", "true"),
    (r"(?<=ON )b\.status = 'RUNNING'", "true"),
    (r"(?<=^)\nb\.status = 'RUNNING'", "\ntrue"),
    (r"(?<=WHERE )r\.enabled", "true"),
    (r"AND (?:w\.)?lease_expires_at <= %\(now\)s", ""),
    (r"AND w\.available_at <= %\(now\)s", ""),
    (r"AND NOT (?:w\.|b\.)?(?:advanced|paused|call_cancelled)", ""),
    (r"AND \{(?:NOT_IN_FLIGHT|TO_ADVANCE)\}", ""),
    (r"(?<=WHERE )\{ORPHANED\}", "true"),
    (r"status IN \(\{listed\(ADVANCING\)\}\)", "true"),
    (r"AND in_waterfall", ""),
    (r"(?<=WHEN )\{row\}\.status = 'COMPLETED'", "true"),
    (r"advanced = false, error", "error"),
    (r"EXCEPT\nSELECT [^\n]+", ""),
    (r"AND w\.error IS NULL", ""),
    (r"AND \(t\.held_until IS NULL OR t\.held_until <= %\(now\)s\)", ""),
    (r" SKIP LOCKED", ""),
    (r"FOR SHARE", "--"),
    (r'untouched\("[^"]+"\)', 'untouched("true")'),
    (r"AND w\.status = \(SELECT '[A-Z_]+'\)", ""),
    (r"SET advanced = true", "SET advanced = advanced"),
    (r"attempt = w\.attempt \+ 1", "attempt = w.attempt"),
    (r"attempt = w\.attempt - 1", "attempt = w.attempt"),
    (r"forgiven = w\.attempt,", ""),
    (r", o\.rows(?=,)", ""),
    (r"AND \{NOT_HELD[^}]*\}", ""),
    (r"holder LIKE %\(family\)s AND ", ""),
    (r"AND split_part\([^)]*\) <> ALL\(%\(alive\)s\)", ""),
    (r"OR holder = ANY\(%\(gone\)s\)", ""),
    (r"AND \(w\.losses = 0 OR [^\n]+", ""),
    (r"AND \{_SUSPECT\}", ""),
    (r"AND cardinality\([^\n]+\n +<= [^\n]+", ""),
    (r"- \(w\.status = 'QUEUED'\)::int", ""),
    (r"(?<=\n    )JOIN won", "LEFT JOIN won"),
    (r"(?<=WHERE )\(SELECT count\(\*\) FROM fresh\) < \(SELECT count\(\*\) FROM won\)", "true"),
    (r"AND company_id NOT IN \(SELECT company_id FROM fresh\)", ""),
    (r"\{\{new_values\}\} > 0 OR ", ""),
    (r" OR \{\{old_values\}\} = 0", ""),
    (r"(?<=WHERE )(?:NOT )?replaces", "true"),
    (r"AND \(old\)\.company_id IS NOT NULL", ""),
    # Of money: which order is meant, whose turn it is, and what is booked once.
    (r"AND \{(?:LIVE|OPEN|which)\}", ""),
    (r"AND NOT \{TO_SETTLE\}", ""),
    (r"AND o\.for_(?:batch|attempt) = \w+\.(?:batch_id|attempt)", ""),
    (r"(?<=LIMIT 1\n    )(?:    )?FOR UPDATE(?=\n)", ""),
    (r"(?<=THEN )'unknown' ELSE", "'attach' ELSE"),
    (r"OR r\.recall = 'key'\n[^\n]+(?=\)\n)", ""),
    (r"o\.id = claimed\.reused OR", ""),
    (r"AND r\.recall <> 'again'", ""),
    (r"held\.step_name = ANY\(b\.buy\) OR", ""),
    (r"OR NOT \{FRESH[^}]*\}", ""),
    (r"\(o\.answered_at \+ [^\n]+ IS TRUE", "true"),
    (r"AND \(c\.changed_at > o\.made_at\) IS NOT TRUE", ""),
    (r"landed\.status IS NOT NULL OR r\.recall = 'again'(?= THEN)", "true"),
    (r"AND p\.verdicts = '(?:replace|attach)'", ""),
    (r"(?<=WHERE )p\.verdicts (?:= '\w+'|IN \([^)]*\))", "true"),
    (r"AND held\.ends IS NOT NULL", ""),
    (r"- \(held\.verdicts <> 'unknown'\)::int", ""),
    (r"AND c\.since = [rs]\.since", ""),
    (r"CASE WHEN o\.tries > o\.known THEN o\.sent_at END", "o.sent_at"),
    (r"(?<=void_at = CASE WHEN )\{SURE\}", "true"),
    (r"AND made_at < %\(now\)s - make_interval\(secs => %\(after_s\)s\)", ""),
    (r"AND \{SURE\}", ""),
    (r"open_row\.status IS NULL OR", "true OR"),
    (r"AND \(sent_at IS NULL OR [^\n]+\n[^\n]+\)(?=\)\n)", ""),
    (r"CASE WHEN was_final THEN 0 ELSE", "CASE WHEN false THEN 0 ELSE"),
    (r"CASE WHEN final THEN 0 ELSE", "CASE WHEN false THEN 0 ELSE"),
    (r"CASE WHEN due\.final THEN %\(now\)s END", "%(now)s"),
    (r"AND \(NOT was_final OR was_unknown\)", ""),
    (r"AND \(o\.answered_at IS NOT NULL OR o\.void_at[^)]*\)", ""),
    (r"AND o\.tries > o\.known THEN o\.sent_at", "THEN o.sent_at"),
    (r"AND w\.reused IS NULL", ""),
    (r"AND \(SELECT w\.status FROM [^\n]+\n[^\n]+ = 'IN_PROGRESS'", ""),
    (r"ON CONFLICT DO NOTHING(?=\n    RETURNING)", ""),
    (r"JOIN kept USING [^\n]+", ""),
    (r"AND a\.final", ""),
    (r"AND \(r\.once OR a\.try = 0\)", ""),
    (r"AND s\.request_hash = a\.request_hash", ""),
    (r", \{_AFFORDABLE\}", ""),
    (r"a\.orders(?=\) AS bound)", "s.free"),
    (
        r"CASE WHEN scope LIKE [\s\S]*?ELSE reserved \+ spent \+ beyond END",
        "(reserved + spent + beyond)",
    ),
    # Of providers' limits: how much room there is, whose calls are counted, and who pauses whom.
    (r"AND r\.bulk IS NULL", ""),
    (r"AND c\.at = o\.send_at", ""),
    (r"AND w\.queued_at <> %\(now\)s", ""),
    (r"CASE WHEN p\.failures > 0 THEN 1 ELSE p\.max_concurrent END", "p.max_concurrent"),
    (r"AND \{AT_DOOR\}", ""),
    (r"AND \{DOOR_UNTIL\} > %\(now\)s", ""),
    (r"AND \{_NOBODYS\}", ""),
    (r"UNION ALL\n +SELECT \* FROM orders\n +WHERE \{UNKNOWN\}[^\n]+(?=\) o\n)", ""),
    (r"(?<=WHERE )o\.provider = p\.name AND", ""),
    (r"FOR UPDATE OF p", ""),
    (r"AND c\.at > %\(now\)s - [^\n]+", ""),
    (r"(?<=FROM provider_calls )EXCEPT SELECT provider, at FROM freed", ""),
    (r"greatest\((?:p\.)?next_at,\s+(?=clock|nullif|%)", "greatest(NULL, "),
    (r"least\(%\(calls\)s, ", "("),
    (r"FOR UPDATE(?=\) p\n)", ""),
    (r"AND spacing_s IS NOT NULL", ""),
    (r"AND slowed IS NOT TRUE", ""),
    (r"WHERE NOT \(%\(kind\)s = 'failing'[^\n]+", ""),
    (r"(?<=SET paused_until = )greatest\(p\.paused_until, n\.until\)", "n.until"),
    (r"CASE WHEN p\.paused_until >= n\.until(?= THEN p\.pause)", "CASE WHEN false"),
    (r"FOR UPDATE(?=\n\), pausing)", ""),
    (r"WHEN learned_rate IS NULL THEN 0\.97", ""),
    (r"WHEN ceiling IS NULL THEN 0\.5", ""),
    (r"WHEN again THEN 0\.8", ""),
    (r"AND provider = %\(name\)s", ""),
    (r"AND answered_at > clock_timestamp\(\) - interval '2 seconds'", ""),
    (r"AND failures > 0", ""),
    (r"AND paused_until < clock_timestamp\(\)", ""),
    (r"p\.paused_until > %\(now\)s OR", ""),
    (r"p\.full_until > %\(now\)s", "false"),
    (r"AND \(\n    SELECT true FROM orders o WHERE [^\n]+ IS NULL(?=\) IS TRUE)", ""),
    (r"p\.next_at > %\(now\)s \+ make_interval\(secs => \{REFILL_S\}\)", "false"),
    (r", \{_CALLS_FREE\} \* coalesce\(r\.bulk, 1\)", ""),
    (r"AND NOT \{_CLOSED\}", ""),
    (r"- coalesce\(u\.calls, 0\)", ""),
    (r"p\.max_concurrent IS NOT NULL AND(?= \{AT_DOOR\})", ""),
    (r"o\.answered_at IS NULL AND claimed\.reused IS NULL(?= AS calls)", "true"),
    (r"coalesce\(held\.untils, w\.available_at\)", "w.available_at"),
    (r"AND r\.provider = ANY\(%\(counting\)s\)", ""),
    (r"AND \(SELECT p\.paused_until > clock_timestamp[^\n]+\n[^\n]+ IS NOT TRUE", ""),
    (r"coalesce\(p\.failures > 0, false\)", "false"),
)


Place = tuple[str, str, int]  # statement, guard, and which of several that are alike


@dataclass(frozen=True)
class Mutant:
    """One place of one file, changed."""

    file: Path
    place: Place
    text: str

    @property
    def statement(self) -> str:
        return self.place[0]

    @property
    def guard(self) -> str:
        return self.place[1]


@dataclass(frozen=True)
class Fate:
    """The test that noticed a mutant, or None."""

    mutant: Mutant
    noticed_by: str | None


def nth(statement: str, guard: str, found: Iterable[Place]) -> Place:
    """The next place of a guard, after those that were found."""
    return statement, guard, sum(place[:2] == (statement, guard) for place in found)


def mutants() -> list[Mutant]:
    """Every guard of every statement, and the unique index behind them."""
    found = dict[Place, Mutant]()
    for file, statement, guard, text in places():
        place = nth(statement, guard, found)
        found[place] = Mutant(file, place, text)
    return list(found.values())


def places() -> Iterator[tuple[Path, str, str, str]]:
    """File, statement, guard, and the file's text without it."""
    for module in MODULES:
        file = ROOT / MODULES[module]
        text = file.read_text()
        for statement in re.finditer(r'^(\w+) = f?"""(.*?)"""', text, re.S | re.M):
            for form, left in FORMS:
                for guard in re.finditer(form, statement[2]):
                    start, end = (statement.start(2) + place for place in guard.span())
                    changed = text[:start] + left + text[end:]
                    name = f"{module}.{statement[1].lstrip('_')}"
                    yield file, name, " ".join(guard[0].split()), changed
    file = ROOT / "alembic" / "versions" / "0001_contract.py"
    text = file.read_text()
    unique = text.index("unique=True", text.index('"uq_workflow_states_one_in_flight"'))
    changed = text[:unique] + "unique=False" + text[unique + len("unique=True") :]
    yield file, "uq_workflow_states_one_in_flight", "UNIQUE", changed


def try_out(mutant: Mutant) -> Fate:
    """Run the tests on a copy with the mutant, until one fails that fails again alone: on a busy
    machine one may fail for want of time."""
    with tempfile.TemporaryDirectory(prefix="tracer-mutant-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        (copy / mutant.file.relative_to(ROOT)).write_text(mutant.text)
        passed = list[str]()
        while failed := first_failure(copy, *files(mutant.file.stem), *passed):
            if first_failure(copy, failed):
                return Fate(mutant, failed.removeprefix("tests/"))
            passed.append(f"--deselect={failed}")
        return Fate(mutant, None)


def files(module: str) -> list[str]:
    """The tests, those of the module's statements first."""
    first = FIRST.get(module, ())
    names = (*first, *(name for name in TESTS if name not in first))
    return [str(file.relative_to(ROOT)) for n in names for file in ROOT.glob(f"tests/**/{n}.py")]


def first_failure(copy: Path, *what: str) -> str | None:
    """The first test that fails in the copy, if one does."""
    options = ("-qx", "-m", "not proof", "-p", "no:cacheprovider", f"--timeout={HANGS_S}")
    command = [sys.executable, "-m", "pytest", *options, *what]
    ran = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    found = re.search(r"^(?:FAILED|ERROR) (\S+?\.py::\w+)", ran.stdout, re.M)
    if ran.returncode and not found:
        raise RuntimeError(f"the tests did not run: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return found[1] if found else None


def lines(fates: Iterable[Fate]) -> dict[Place, str]:
    """The fates as lines of a Markdown table."""
    return {
        fate.mutant.place: f"| `{fate.mutant.statement}` | `{fate.mutant.guard}` | "
        + (f"`{fate.noticed_by}` |" if fate.noticed_by else "**nobody** |")
        for fate in fates
    }


def written() -> dict[Place, str]:
    """The lines that the page has."""
    found = dict[Place, str]()
    for line in TABLE.read_text().splitlines() if TABLE.exists() else ():
        if cells := re.fullmatch(r"\| `(.*?)` \| `(.*?)` \| .* \|", line):
            found[nth(cells[1], cells[2], found)] = line
    return found


def write(fates: Iterable[Fate]) -> None:
    """Put the fates into the page, where those of other mutants stay."""
    known = written() | lines(fates)
    rows = [known[m.place] for m in mutants() if m.place in known]
    head = ["| statement | guard that was taken away | noticed by |", "|---|---|---|"]
    TABLE.write_text("\n".join([HEAD, *head, *rows]) + "\n")


def main() -> int:
    """Try every mutant; returns 1 when one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="only statements whose name holds this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="into docs/mutants.md")
    given = parser.parse_args()
    if failed := first_failure(ROOT, *files("")):
        sys.exit(f"{failed} fails without a mutant")
    chosen = [mutant for mutant in mutants() if given.only in mutant.statement]
    fates = []
    with ThreadPoolExecutor(given.jobs) as threads:
        for fate in threads.map(try_out, chosen):
            fates.append(fate)
            says = fate.noticed_by or "NOBODY"
            sys.stdout.write(f"{fate.mutant.statement}: {fate.mutant.guard}: {says}\n")
            sys.stdout.flush()
    if given.write:
        write(fates)
    survivors = [fate for fate in fates if not fate.noticed_by]
    sys.stdout.write(f"{len(fates)} mutants, {len(survivors)} survived\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
