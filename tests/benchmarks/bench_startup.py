"""What it costs to start: the wall's clock and Python's own account of imports."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import List

from tests.benchmarks.common import interleave, is_short, ratio, show

#: As installed packages are, ours is to be compiled already, whatever this shell asks for.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def run(*arguments: str) -> None:
    command = [sys.executable, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)


def import_time(module: str, rounds: int) -> float:
    """Milliseconds that importing a module takes, those before it left out."""
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
    rounds = 3 if is_short() else 15
    took = interleave(
        {
            "socket": lambda: run("-c", "import socket"),
            "amiproto": lambda: run("-c", "import amiproto"),
            "amiclient": lambda: run("-c", "import amiclient"),
            "help": lambda: run("-m", "amiclient", "--help"),
        },
        rounds,
    )
    floor = took["socket"].wall
    for name, what, target in (
        ("amiproto", "import amiproto", None),
        ("amiclient", "import amiclient", None),
        ("help", "amisend --help", "at most 2.2"),
    ):
        show(what, ratio(took[name].wall, floor), "times 'import socket'", target)
    show("importtime of amiproto", import_time("amiproto", rounds), "ms", "at most 12")
    over = import_time("amiclient", rounds)
    show("importtime of amiclient over socket", over, "ms", "at most 20")
    script = "import amiclient, sys; sys.exit('ssl' in sys.modules or 'argparse' in sys.modules)"
    run("-c", script)


if __name__ == "__main__":
    main()
