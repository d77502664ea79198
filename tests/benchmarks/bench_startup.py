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
        code = "import amiproto" if module == "amiproto" else f"import socket, {module}"
        command = [sys.executable, "-X", "importtime", "-c", code]
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
            "import amiproto": lambda: run("-c", "import amiproto"),
            "import amiclient": lambda: run("-c", "import amiclient"),
            "amisend --help": lambda: run("-m", "amiclient", "--help"),
        },
        rounds,
    )
    floor = times["socket"].wall
    for name, target in (
        ("import amiproto", None),
        ("import amiclient", None),
        ("amisend --help", "at most 2.2"),
    ):
        show(name, ratio(times[name].wall, floor), "times 'import socket'", target)
    show("importtime of amiproto", import_time("amiproto", rounds), "ms", "at most 12")
    show("importtime of amiclient", import_time("amiclient", rounds), "ms", "at most 20")


if __name__ == "__main__":
    main()
