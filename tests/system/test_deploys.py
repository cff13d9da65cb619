"""Hosts that are restarted under load: nothing is called twice, and nothing stalls."""

import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest

from reconciler.contract.settings import workers_socket
from reconciler.spawners.local import LocalSpawner
from reconciler.tick import tick
from tests.hosts import hosting
from tests.world import World, wait_until

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="a host's processes are found in /proc"),
]

STEPS = '''
"""normalize in the place of the bundled one; it takes two seconds, as an API may."""
import asyncio
from workers.kit import Company, step
from workers.steps.normalize import Normalized

@step(concurrency=10)
async def normalize(company: Company) -> Normalized:
    with open({worked!r}, "a") as log:
        log.write(company.key + "\\n")
    await asyncio.sleep(2)
    return Normalized(short_name=company.key)
'''
COMPANIES, AT_ONCE, RESTARTS = 400, 20, 20
MOST_STALLED_S = 15.0  # a company takes 2 s; with one host alone, it would be a whole restart


def host(home: Path, url: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    return hosting(home, url, steps="mysteps", stderr=subprocess.PIPE)


def restart(homes: list[Path], url: str, ready: Event) -> list[tuple[int, bytes]]:
    """Restart the hosts in turn; their exit codes, and what was a traceback."""
    ends = list[tuple[int, bytes]]()
    with ExitStack() as running:
        hosts = {home: running.enter_context(host(home, url)) for home in homes}
        ready.set()
        for number in range(RESTARTS):
            home = homes[number % len(homes)]
            hosts[home].send_signal(signal.SIGTERM)
            said = hosts[home].communicate(timeout=60)[1]
            ends.append((hosts[home].returncode, b"Traceback" in said and said))
            hosts[home] = running.enter_context(host(home, url))
        ready.clear()
        wait_until(ready.is_set, within_s=120)  # until all is done
    return ends


def test_hosts_restarted_in_turn_pay_for_nothing_twice_and_stall_nothing(
    tmp_path: Path, world: World, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    worked = tmp_path / "worked"
    homes = [tmp_path / name for name in ("first", "second")]
    for home in homes:
        home.mkdir()
        (home / "mysteps.py").write_text(STEPS.format(worked=str(worked)))
    ready, ends = Event(), list[tuple[int, bytes]]()
    restarting = Thread(target=lambda: ends.extend(restart(homes, url, ready)))
    restarting.start()
    wait_until(ready.is_set)
    world.seed(COMPANIES)
    began = moved = time.monotonic()
    done = stalled_s = 0.0
    while (statuses := world.statuses()).keys() != {"COMPLETED"}:
        now = time.monotonic()
        assert now - began < 300
        if (completed := statuses.get("COMPLETED", 0)) > done:
            done, moved = completed, now
        stalled_s = max(stalled_s, now - moved)
        for home in homes:  # as the loops of two machines do
            tick(world.store, LocalSpawner(workers_socket(home)), world.store.now())
        time.sleep(0.05)
    took_s = time.monotonic() - began
    wait_until(lambda: not ready.is_set() or not restarting.is_alive(), within_s=120)
    ready.set()
    restarting.join()
    assert set(ends) == {(0, False)}
    assert set(Counter(worked.read_text().splitlines()).values()) == {1}
    assert {row["attempt"] - row["forgiven"] for row in world.rows()} == {1}
    # With both hosts up all the time it would be 40 s; while one is restarted, the other works.
    with capsys.disabled():
        ideal_s = 2 * COMPANIES / AT_ONCE
        sys.stdout.write(
            f"\n{RESTARTS} restarts: {took_s:.1f} s, {ideal_s:.0f} s without any; "
            f"{stalled_s:.1f} s at most in which no company was done\n"
        )
    assert stalled_s < MOST_STALLED_S
    assert took_s < 3.5 * ideal_s  # most of it is CPU time of programs that start
