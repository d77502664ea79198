"""Sending, compared with a bare socket that sends prepared bytes, and with other programs.

One message at a time, 32 in flight, and ``amisend --batch``: with a loopback server, or with a live
one (``--asterisk``), where pip also installs other AMI libraries into the cache. ``--against`` adds
another checkout. Each program (``contender.py``) has a process, and they take turns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, Optional, Tuple

from tests.benchmarks.common import Server, Timing, interleave, options, ratio, serving, show
from tests.benchmarks.contender import message
from tests.live.provision import cache_folder

CHECKOUT = Path(__file__).parents[2]
CONTENDER = str(Path(__file__).with_name("contender.py"))

#: Contender, baseline, and the targets of rate and CPU time on live servers.
COMPARISONS = (
    ("single", "bare", "at least 0.62", None),
    ("single", "basicami", "at least 1.15", None),
    ("single", "astami", "at least 1.15", None),
    ("single", "old single", None, "at most 0.65"),
    ("listened", "single", "at least 0.67", None),
    ("many", "pipeline", "at least 0.85", None),
    ("many", "old many", None, None),
)

#: Sends a number of new messages, and returns wall-clock and CPU seconds.
Send = Callable[[int], Tuple[float, float]]


def environment(path: Path) -> Dict[str, str]:
    """Return variables for a process that imports from a folder, without options of Python."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return {**kept, "PYTHONPATH": str(path)}


def login(server: Server) -> str:
    return f"{server.port}\t{server.username}\t{server.secret}\n"


@contextmanager
def contender(server: Server, kind: str, path: Path) -> Iterator[Send]:
    """Start a contender of this kind that imports from a folder."""
    with subprocess.Popen(
        [sys.executable, CONTENDER, kind],
        env=environment(path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        def send(count: int) -> Tuple[float, float]:
            stdin.write(f"{count}\n")
            wall, cpu = map(float, stdout.readline().split())
            return wall, cpu

        stdin.write(login(server))
        yield send
        stdin.close()  # stops it


def library(name: str) -> Optional[Path]:
    """Return the folder of a library, installed if necessary; None if that fails."""
    folder = cache_folder() / "libraries-{}.{}".format(*sys.version_info) / name
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), name]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"skipped {name}: {done.stderr.splitlines()[-1]}")
            return None
    return folder


def measure(server: Server, kinds: Dict[str, Path], count: int, rounds: int, aims: bool) -> None:
    """Compare the contenders that can be imported from these folders."""
    times = {kind: Timing([], []) for kind in kinds}
    with ExitStack() as stack:
        sends = {
            kind: stack.enter_context(contender(server, kind.split()[-1], path))
            for kind, path in kinds.items()
        }
        for number in range(-1, rounds):
            for kind, send in sends.items():
                wall, cpu = send(count)
                if number >= 0:  # the first round does not count
                    times[kind].wall.append(wall)
                    times[kind].cpu.append(cpu)
    for kind, timing in times.items():
        show(f"{server.label}: {kind}", count / statistics.median(timing.wall), "a second")
        show("  CPU time", statistics.median(timing.cpu) / count * 1e6, "us a message")
    for kind, base, rate, cpu_time in COMPARISONS:
        if kind in times and base in times:
            ours, theirs = times[kind], times[base]
            what = f"{server.label}: {kind}, compared with {base}"
            show(what, ratio(theirs.wall, ours.wall), "times the rate", rate if aims else None)
            show("  CPU time", ratio(ours.cpu, theirs.cpu), "times", cpu_time if aims else None)


def measure_batch(server: Server, count: int, rounds: int) -> None:
    """Compare ``amisend --batch`` with a script that uses ``send_messages``, as processes."""
    settings = {
        **environment(CHECKOUT),
        "AMI_PORT": str(server.port),
        "AMI_USERNAME": server.username,
        "AMI_SECRET": server.secret,
    }

    def run(*arguments: str) -> None:
        command = [sys.executable, *arguments, file.name]
        output = subprocess.run(
            command,
            env=settings,
            input=login(server),
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
        assert output.count('"accepted"') == count, output

    with tempfile.NamedTemporaryFile("w") as file:
        for number in range(count):
            fields = message(number)
            del fields["from_"]  # has another name in a batch
            file.write(json.dumps(fields) + "\n")
        file.flush()
        times = interleave(
            {
                "amisend": lambda: run("-m", "amiclient", "--quiet", "--batch"),
                "script": lambda: run(CONTENDER, "script"),
            },
            rounds,
        )
    factor = ratio(times["script"].wall, times["amisend"].wall)
    show(f"{server.label}: --batch of {count} lines", factor, "of a script", "at least 0.9")


def main() -> None:
    chosen = options(asterisk=True)
    # Short rounds, so that other load on the machine affects all contenders of a round.
    count, rounds, lines = (100, 3, 1000) if chosen.short else (250, 40, 10_000)
    kinds = dict.fromkeys(("bare", "single", "listened", "pipeline", "many"), CHECKOUT)
    if chosen.against:
        kinds.update({f"old {kind}": Path(chosen.against) for kind in ("single", "many")})
    if chosen.asterisk:
        folders = {name: library(name) for name in ("basicami", "astami")}
        kinds.update({name: folder for name, folder in folders.items() if folder})
    with serving(*(["--asterisk", chosen.asterisk] if chosen.asterisk else [])) as server:
        measure(server, kinds, count, rounds, aims=bool(chosen.asterisk))
        measure_batch(server, lines, min(rounds, 7))
    if not chosen.asterisk:
        with serving("--delay", "20") as server:
            measure(server, dict.fromkeys(("pipeline", "many"), CHECKOUT), 640, 3, aims=True)


if __name__ == "__main__":
    main()
