"""Coverage-guided fuzzing with atheris.

    python3 tests/fuzzing/guided.py [--target NAME] [--seconds S] [--corpus FOLDER] [--keep]

Searches each target for the given time, then minimizes the corpus. ``--keep`` writes the minimized
corpus to ``tests/fuzzing/corpus``, where the tests run it. ``--corpus`` is a folder for all inputs,
from which a later search continues. A failing input is printed, and the exit code is 1.
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

from tests.fuzzing import corpus  # noqa: E402
from tests.fuzzing.targets import TARGETS, seeds  # noqa: E402

_PROCESS = Path(__file__).resolve().parent / "guided_process.py"


def _atheris(name: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run libFuzzer on a target in a child process, because libFuzzer ends its process."""
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
    """Return the tokens of a target in libFuzzer's format."""
    quoted = ["".join(f"\\x{byte:02x}" for byte in token) for token in TARGETS[name].tokens]
    return "".join(f'"{token}"\n' for token in quoted)


def search(name: str, seconds: int, folder: Path, work: Path) -> bool:
    """Search one target, print the result, and return True if nothing failed."""
    dictionary = work / "words"
    dictionary.write_text(_dictionary(name))
    failures = work / "failures"
    failures.mkdir(exist_ok=True)
    started = time.perf_counter()
    done = _atheris(
        name, f"-max_total_time={seconds}", f"-max_len={TARGETS[name].max_len}",
        f"-dict={dictionary}", f"-artifact_prefix={failures}/", "-timeout=60",
        "-print_final_stats=1", str(folder),
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
    # The traceback is between libFuzzer's progress and its summary.
    start = done.stdout.find(" === Uncaught Python exception")
    end = done.stdout.find("\nSUMMARY: ", start)
    print(done.stdout[start:end] if 0 <= start < end else done.stdout[-5000:])
    return False


def minimize(name: str, source: Path, work: Path) -> List[bytes]:
    """Return a small subset of a corpus with the same coverage."""
    for option in ("-merge=1", "-set_cover_merge=1"):
        folder = work / option[1:]
        folder.mkdir()
        done = _atheris(name, option, f"-max_len={TARGETS[name].max_len}", str(folder), str(source))
        inputs = _read(folder)
        print(f"{name}: {len(inputs)} of {len(_read(source))} inputs have the same coverage")
        if not inputs:
            raise RuntimeError(done.stdout[-5000:])
        if len(inputs) <= corpus.MAX_INPUTS:
            break
    return inputs


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", choices=TARGETS, help="only this target")
    parser.add_argument("--seconds", type=int, default=60, help="per target; 0 for no search")
    parser.add_argument("--corpus", type=Path, help="a folder for all inputs")
    parser.add_argument("--keep", action="store_true", help="update the corpus of the tests")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed; run: python3 -m pip install atheris")
        return 1
    failed = False
    for name in [options.target] if options.target else TARGETS:
        work = Path(tempfile.mkdtemp())
        try:
            folder = (options.corpus or work) / name
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder, [*seeds(name), *corpus.load(name)])
            if options.seconds and not search(name, options.seconds, folder, work):
                failed = True
                continue
            inputs = minimize(name, folder, work)
            if options.keep:
                print(f"{name}: {corpus.save(name, inputs)} inputs kept")
        finally:
            shutil.rmtree(work)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
