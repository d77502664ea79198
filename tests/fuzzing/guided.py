"""Coverage-guided fuzzing of one target with atheris, which takes the options of libFuzzer.

    python3 tests/fuzzing/corpus.py export client work
    python3 tests/fuzzing/guided.py client work -max_total_time=60
    mkdir small && python3 tests/fuzzing/guided.py client -merge=1 small work
    python3 tests/fuzzing/corpus.py import client small

The first and the last command copy the corpus of the tests to a folder and back. The first one also
writes a dictionary, ``work.dict``. A failing input is written to the current folder.
"""

from __future__ import annotations

import importlib
import shlex
import sys
from pathlib import Path


def main() -> None:
    # Imported by name, so that type checkers do not need atheris.
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["amiproto", "amiclient"]):
        from tests.fuzzing.targets import TARGETS
    name, *options = sys.argv[1:]
    target = TARGETS[name]

    def check(data: bytes) -> None:
        target.run(data)

    # To minimize a corpus, libFuzzer starts itself again through a shell, with its argv[0].
    itself = " ".join(map(shlex.quote, [sys.executable, __file__, name]))
    dictionaries = [f"-dict={option}.dict" for option in options if Path(f"{option}.dict").exists()]
    atheris.Setup([itself, f"-max_len={target.max_len}", *dictionaries, *options], check)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    main()
