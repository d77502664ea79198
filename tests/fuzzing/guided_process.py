"""One search by libFuzzer, for ``guided``: the name of a target, then libFuzzer's own options.

In a process of its own because libFuzzer ends the process that it ran in, and because the library
must not be imported before atheris can add to it what reports the lines that are reached.
"""

from __future__ import annotations

import importlib
import shlex
import sys
from pathlib import Path


def main() -> None:
    # By name, so that types are checked where there is no atheris.
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["amiproto", "amiclient"]):
        from tests.fuzzing.targets import TARGETS
    name, *options = sys.argv[1:]
    run = TARGETS[name].run

    def take(data: bytes) -> None:
        run(data)

    # To compare inputs it starts itself again, by a shell and by what it takes for its own name.
    itself = " ".join(map(shlex.quote, [sys.executable, __file__, name]))
    atheris.Setup([itself, *options], take)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    main()
