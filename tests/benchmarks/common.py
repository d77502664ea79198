"""Helpers of the benchmarks: options, servers in child processes, timing and output.

Results are ratios to a baseline. Rounds of the baseline and of the code under test alternate, and
the median counts, so that other load on the machine affects both.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

from amiclient import Client
from amiproto import Banner, Response, Session

CAPTURES = Path(__file__).parent.parent / "captures"


def options(asterisk: bool = False) -> argparse.Namespace:
    """Parse the command line; ``asterisk`` adds an option for a live server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="few rounds, without significance")
    if asterisk:
        parser.add_argument("--asterisk", metavar="SUITE", help="bullseye (16) or sid (22)")
        parser.add_argument("--against", metavar="PATH", help="another checkout to compare with")
    return parser.parse_args()


class Timing(NamedTuple):
    """Seconds of each round: wall-clock and CPU time."""

    wall: List[float]
    cpu: List[float]


def interleave(functions: Dict[str, Callable[[], object]], rounds: int) -> Dict[str, Timing]:
    """Call each function once per round, after a first call that does not count."""
    timings = {name: Timing([], []) for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            cpu, wall = process_time(), perf_counter()
            function()
            timings[name].wall.append(perf_counter() - wall)
            timings[name].cpu.append(process_time() - cpu)
    return timings


def ratio(above: List[float], below: List[float]) -> float:
    """Return the median of the ratios of all rounds."""
    return statistics.median([a / b for a, b in zip(above, below)])


def show(what: str, value: float, unit: str, target: Optional[str] = None) -> None:
    """Print a result."""
    print(f"{what:<66}{value:10.3f} {unit}" + (f"   (target {target})" if target else ""))


def logged_in(events: str = "off") -> Session:
    """Return a logged-in session."""
    session = Session("user", "secret", entropy=bytes(16), mechanism="plain", events=events)
    session.receive_data(Banner("11.0.0").wire)
    session.next_event()
    (login,) = session.outstanding
    session.receive_data(Response("Success", action_id=login).wire)
    session.next_event()
    session.data_to_send()
    return session


class Server(NamedTuple):
    """A server in a child process."""

    label: str
    port: int
    username: str
    secret: str

    def client(self) -> Client:
        """Return a client that is not connected yet."""
        return Client("127.0.0.1", self.port, username=self.username, secret=self.secret)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Server]:
    """Start ``serve`` with these arguments, and stop it at the end of the block."""
    command = [sys.executable, "-m", "tests.benchmarks.serve", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            label, port, username, secret = process.stdout.readline().rstrip("\n").split("\t", 3)
            yield Server(label, int(port), username, secret)
        finally:
            process.stdin.close()  # stops it


def servers(asterisk: Optional[str]) -> Iterator[Server]:
    """Yield a loopback server, and then a live one if it is requested."""
    for arguments in [[], ["--asterisk", asterisk]] if asterisk else [[]]:
        with serving(*arguments) as server:
            yield server
