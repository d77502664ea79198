"""A search by coverage: what reaches a new line of the library is kept, and damaged further.

    python3 tests/fuzzing/guided.py [--target NAME] [--seconds S] [--corpus FOLDER] [--keep]

Needs atheris. Searches for so long in each target, in turn or in one, and says how many inputs were
run. Then what was found is brought down to the fewest inputs that reach as much, which ``--keep``
writes to ``tests/fuzzing/inputs``, where the tests run them. With ``--corpus`` a later search goes
on from there. An input that fails is printed, so that it can become a test, and the end is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterable, List, Optional, Sequence

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.fuzzing import kept  # noqa: E402
from tests.fuzzing.targets import TARGETS, seeds  # noqa: E402

_PROCESS = Path(__file__).resolve().parent / "guided_process.py"


def _atheris(name: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run libFuzzer over a target: in a process of its own, which it ends as it likes."""
    return subprocess.run(
        [sys.executable, str(_PROCESS), name, *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, errors="replace",
    )  # fmt: skip


def _write(folder: Path, inputs: Iterable[bytes]) -> None:
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def _read(folder: Path) -> List[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def _dictionary(name: str) -> str:
    """What stands out in the inputs of a target, as libFuzzer reads it."""
    quoted = ["".join(f"\\x{byte:02x}" for byte in token) for token in TARGETS[name].tokens]
    return "".join(f'"{token}"\n' for token in quoted)


def search(name: str, seconds: int, corpus: Path, work: Path) -> bool:
    """Search in one target, print what came of it, and say whether all is well."""
    dictionary = work / "words"
    dictionary.write_text(_dictionary(name))
    failures = work / "failures"
    failures.mkdir(exist_ok=True)
    started = time.perf_counter()
    done = _atheris(
        name, f"-max_total_time={seconds}", f"-max_len={TARGETS[name].max_len}",
        f"-dict={dictionary}", f"-artifact_prefix={failures}/", "-timeout=60",
        "-print_final_stats=1", str(corpus),
    )  # fmt: skip
    spent = time.perf_counter() - started
    found = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    count = int(found.group(1)) if found else 0
    print(f"{name}: {count} inputs in {spent:.0f} s, {count / spent:.0f} a second", flush=True)
    if done.returncode == 0:
        return True
    print(f"FAILED: {name}")
    for data in _read(failures):
        print(f"input {data!r}")
    # The error is between what libFuzzer says of its search and what it says of the input.
    start = done.stdout.find(" === Uncaught Python exception")
    end = done.stdout.find("\nSUMMARY: ", start)
    print(done.stdout[start:end] if 0 <= start < end else done.stdout[-5000:])
    return False


def smallest(name: str, corpus: Path, work: Path) -> List[bytes]:
    """The fewest and shortest inputs of a corpus that reach all that it reaches."""
    for option in ("-merge=1", "-set_cover_merge=1"):
        folder = work / option[1:]
        folder.mkdir()
        done = _atheris(name, option, f"-max_len={TARGETS[name].max_len}", str(folder), str(corpus))
        inputs = _read(folder)
        print(f"{name}: {len(inputs)} inputs of {len(_read(corpus))} reach as much ({option})")
        if not inputs:
            raise RuntimeError(done.stdout[-5000:])
        if len(inputs) <= kept.MAX_INPUTS:
            break
    return inputs


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", choices=TARGETS, help="this one alone")
    parser.add_argument("--seconds", type=int, default=60, help="so long in each; 0: no search")
    parser.add_argument("--corpus", type=Path, help="where what is found stays")
    parser.add_argument("--keep", action="store_true", help="write the inputs that tests run")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed; get it by: python3 -m pip install atheris")
        return 1
    failed = False
    for name in [options.target] if options.target else TARGETS:
        work = Path(tempfile.mkdtemp())
        try:
            corpus = (options.corpus or work) / name
            corpus.mkdir(parents=True, exist_ok=True)
            _write(corpus, [*seeds(name), *kept.load(name)])
            if options.seconds and not search(name, options.seconds, corpus, work):
                failed = True
                continue
            inputs = smallest(name, corpus, work)
            if options.keep:
                print(f"{name}: {kept.save(name, inputs)} inputs kept")
        finally:
            shutil.rmtree(work)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
