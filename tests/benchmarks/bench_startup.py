"""Start-up time: wall-clock time, and Python's ``-X importtime``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import List

from tests.benchmarks.common import interleave, options, ratio, show

#: Bytecode may be written, because installed packages are compiled too.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def run(*arguments: str) -> None:
    command = [sys.executable, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)


def import_time(module: str, rounds: int) -> float:
    """Return the milliseconds that an import takes, without socket in the case of amiclient."""
    times: List[float] = []
    for _ in range(rounds):
        command = [sys.executable, "-X", "importtime", "-c", f"import socket, {module}"]
        if module == "amiproto":
            command[-1] = "import amiproto"
        lines = subprocess.run(
            command, check=True, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        ).stderr.splitlines()
        for line in lines:
            cumulative, name = line.split("|")[1:]
            if name.rstrip("\n") == f" {module}":
                times.append(int(cumulative) / 1000.0)
    return statistics.median(times)


def main() -> None:
    rounds = 3 if options().short else 15
    times = interleave(
        {
            "socket": lambda: run("-c", "import socket"),
            "amiproto": lambda: run("-c", "import amiproto"),
            "amiclient": lambda: run("-c", "import amiclient"),
            "help": lambda: run("-m", "amiclient", "--help"),
        },
        rounds,
    )
    floor = times["socket"].wall
    for name, what, target in (
        ("amiproto", "import amiproto", None),
        ("amiclient", "import amiclient", None),
        ("help", "amisend --help", "at most 2.2"),
    ):
        show(what, ratio(times[name].wall, floor), "times 'import socket'", target)
    show("importtime of amiproto", import_time("amiproto", rounds), "ms", "at most 12")
    show("importtime of amiclient", import_time("amiclient", rounds), "ms", "at most 20")


if __name__ == "__main__":
    main()
