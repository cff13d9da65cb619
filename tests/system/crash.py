"""Death at any boundary: where a program speaks to the outside, it can end, before and after.

Nothing in the product knows of it. psycopg sends every statement, BEGIN, COMMIT and ROLLBACK
through `Connection.wait`; the spawner's sends and the step functions are wrapped where a test hands
them over. A program that dies has its connections cut without a word to the server, and what still
unwinds of it reaches nobody.
"""

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from os import dup
from types import ModuleType
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from reconciler.contract.database import Database
from tests.world import STEPS

T = TypeVar("T")
HEART = "'s heart"
THREADS = {"heart": HEART, "journal": "'s journal"} | dict.fromkeys([*STEPS, "loop"], "'s calls")
VERBS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


class Death(BaseException):
    """The program ends here; no part of the product may take it for an error of its own."""


@dataclass(frozen=True)
class Place:
    """The `number`th boundary of a program's thread; what is crossed there is said by `what`."""

    program: str
    thread: str
    number: int
    what: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.program}{self.thread} {self.number}, {' '.join(self.what.split())[:70]} …"


@dataclass
class Program:
    """What the outside knows of a program: its name, its connections, and whether it lives."""

    name: str
    connections: set["psycopg.Connection[Any]"] = field(default_factory=set)
    backends: set[int] = field(default_factory=set)
    dead: bool = False


@dataclass
class Probe:
    """Numbers the boundaries that its programs cross, and lets one of them die at one of these."""

    doomed: tuple[Place, str] | None = None
    crossed: list[Place] = field(default_factory=list)
    dead: Program | None = None
    _pools: dict[int, Program] = field(default_factory=dict)
    _numbers: Counter[tuple[str, str]] = field(default_factory=Counter)
    _turn: Any = field(default_factory=threading.RLock)

    def watch(self, name: str, store: Database) -> Program:
        """Take `store` as all that the program `name` has of the database."""
        program = Program(name)
        self._pools[id(store._pool)] = program
        return program

    def program_of(self, connection: "psycopg.Connection[Any]") -> Program | None:
        """The program that uses the connection, if it is one that may die."""
        return self._pools.get(id(getattr(connection, "_pool", None)))

    def cross(self, program: Program, what: str, act: Callable[[], T]) -> T:
        """Do what crosses a boundary, unless the program dies before it, is dead, or dies after."""
        self._live(program)
        place = self._place(program, what)
        self._die_at(program, place, "before")
        try:
            return act()
        finally:
            self._live(program)
            self._die_at(program, place, "after")

    def _place(self, program: Program, what: str) -> Place:
        thread = THREADS.get(threading.current_thread().name, "")
        with self._turn:
            self._numbers[program.name, thread] += 1
            place = Place(program.name, thread, self._numbers[program.name, thread], what)
            self.crossed.append(place)
        return place

    def _live(self, program: Program) -> None:
        if program.dead:
            raise Death

    def _die_at(self, program: Program, place: Place, moment: str) -> None:
        if self.doomed != (place, moment) or self.dead:
            return
        self.dead, program.dead = program, True
        for connection in program.connections:
            cut(connection)
        raise Death


def cut(connection: "psycopg.Connection[Any]") -> None:
    """End the connection as a program's end does: no ROLLBACK, no goodbye."""
    with suppress(psycopg.OperationalError), socket.socket(fileno=dup(connection.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)


@contextmanager
def probing(probe: Probe) -> Iterator[None]:
    """Have all that psycopg sends cross a boundary of `probe`."""
    wait, excepthook = psycopg.Connection.wait, threading.excepthook

    def crossing(self: Any, generator: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        program, what = probe.program_of(self), said(generator, self)
        if program is None or what is None:
            return wait(self, generator, *args, **options)
        if not program.dead and self not in program.connections:
            program.connections.add(self)
            program.backends.add(self.info.backend_pid)
        return probe.cross(program, what, lambda: wait(self, generator, *args, **options))

    def end_of_thread(about: threading.ExceptHookArgs) -> None:
        if about.exc_type is not Death:  # a heart that ends with its program is no error
            excepthook(about)

    psycopg.Connection.wait, threading.excepthook = crossing, end_of_thread  # type: ignore
    try:
        yield
    finally:
        psycopg.Connection.wait, threading.excepthook = wait, excepthook  # type: ignore


def said(generator: Generator[Any, Any, Any], connection: "psycopg.Connection[Any]") -> str | None:
    """What the server will be told; None where it is nothing."""
    values = generator.gi_frame.f_locals if generator.gi_frame else {}
    if "query" in values:
        return text_of(values["query"])
    match generator.gi_code.co_name:
        case "_enter_gen":
            return "BEGIN"
        case "_exit_gen":
            return "ROLLBACK" if values["exc_type"] else "COMMIT"
    idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
    return None if idle else generator.gi_code.co_name


def text_of(query: object) -> str:
    """A statement as the server gets it."""
    if isinstance(query, sql.Composable):
        return query.as_string()
    return query.decode() if isinstance(query, bytes) else str(query)


def statements(*modules: ModuleType) -> dict[str, "re.Pattern[str]"]:
    """The statements that the modules name, each as a pattern of what is sent for it; a private
    name is a part of one."""
    found = {}
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, str) and name.isupper() and name[0] != "_" and is_statement(value):
                fixed = re.split(r"\{\w+\}", value)
                found[name] = re.compile(".*".join(map(re.escape, fixed)), re.DOTALL)
    return found


def is_statement(text: str) -> bool:
    return text.split()[0] in VERBS
