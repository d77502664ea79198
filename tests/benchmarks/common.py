"""How the benchmarks measure: ratios to a floor, rounds interleaved, medians."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

from amiproto import Banner, Response, Session

CAPTURES = Path(__file__).parent.parent / "captures"


class Timing(NamedTuple):
    """Seconds of each round, by the clock on the wall and by the processor."""

    wall: List[float]
    cpu: List[float]


def is_short() -> bool:
    """Whether the command line asks for the short form, which prints but says little."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="few rounds, small numbers")
    return bool(parser.parse_args().short)


def interleave(functions: Dict[str, Callable[[], object]], rounds: int) -> Dict[str, Timing]:
    """Run each function once a round, so that what disturbs one round disturbs them all."""
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


def logged_in(events: str = "off") -> Session:
    """A session of the codec that a server has let in."""
    session = Session("user", "secret", entropy=bytes(16), mechanism="plain", events=events)
    session.receive_data(Banner("11.0.0").wire)
    session.next_event()
    (login,) = session.outstanding
    session.receive_data(Response("Success", action_id=login).wire)
    session.next_event()
    session.data_to_send()
    return session


def ratio(above: List[float], below: List[float]) -> float:
    """The median of the ratios round by round."""
    return statistics.median([a / b for a, b in zip(above, below)])


def show(what: str, value: float, unit: str, target: Optional[str] = None) -> None:
    """One line of the result."""
    print(f"{what:<66}{value:10.3f} {unit}" + (f"   (target {target})" if target else ""))


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[int]:
    """A loopback server in a process of its own; gives its port."""
    command = [sys.executable, "-m", "tests.benchmarks.serve", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()  # which ends it
