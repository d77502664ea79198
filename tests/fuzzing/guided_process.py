"""The child process of ``guided``: runs libFuzzer on one target.

Arguments: the name of the target, then options of libFuzzer. It is a separate process because
libFuzzer ends its process, and because atheris must instrument the library as it is imported.
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
    run = TARGETS[name].run

    def check(data: bytes) -> None:
        run(data)

    # To minimize a corpus, libFuzzer starts itself again through a shell, with its argv[0].
    itself = " ".join(map(shlex.quote, [sys.executable, __file__, name]))
    atheris.Setup([itself, *options], check)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    main()
