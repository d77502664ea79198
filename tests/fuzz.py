"""Random and mutated bytes, under the laws of ``tests/fuzzing``.

    python3 tests/fuzz.py --inputs 2000000 [--seed N] [--seconds S] [--jobs N]

An input is made of samples, put together and damaged, and goes through one target. One that fails
is printed, so that it can become a test. Ends with counts, and 1 where something failed. For a
search that looks at which lines an input reaches, see ``tests/fuzzing/guided.py``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Sequence

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fuzzing.targets import TARGETS  # noqa: E402

#: How often each target is taken. The loopback server, which takes a socket an input, is not.
WEIGHTS = {"client": 40, "server": 40, "session": 10, "message_send": 10}


class Failure(NamedTuple):
    """An input that broke a law."""

    target: str
    data: bytes
    trace: str


class Report(NamedTuple):
    """What one process has done."""

    inputs: int
    counts: Dict[str, int]
    grown: int
    failure: Optional[Failure]


class Fuzzer:
    """Makes inputs, has them read, and counts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.target = ""
        self.data = b""

    def make(self, name: str) -> bytes:
        """One input: samples put together and damaged, or bytes out of nowhere."""
        chance = self.random.random
        _, head, groups, tokens, *_ = TARGETS[name]
        data = bytearray(self._any_bytes(head))
        if chance() < 0.05:
            return bytes(data) + self._any_bytes(int(chance() * 200))
        # Of groups first: the recorded samples are many, and would leave no room for the others.
        samples = groups[int(chance() * len(groups))]
        for _ in range(1 + int(chance() * 3)):
            data += samples[int(chance() * len(samples))]
        for _ in range(int(chance() * 5)):
            place = head + int(chance() * (len(data) - head + 1))
            end = place + 1 + int(chance() ** 3 * 200)
            what = chance()
            if what < 0.3:
                data[place - 1] ^= 1 << int(chance() * 8)
            elif what < 0.5:
                del data[place:end]
            elif what < 0.65:
                data[place:place] = data[place:end] * (1 + int(chance() * 3))
            elif what < 0.95:
                data[place:place] = tokens[int(chance() * len(tokens))]
            else:
                data[place:end] = self._any_bytes(8)
        return bytes(data)

    def _any_bytes(self, size: int) -> bytes:
        return self.random.getrandbits(8 * size + 1).to_bytes(size + 1, "little")[:size]

    def run(self, inputs: int) -> None:
        """Make so many inputs and have them read; raises what goes wrong."""
        names = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=inputs)
        for self.target in names:
            self.data = self.make(self.target)
            self.counts.update(TARGETS[self.target].run(self.data))


def memory() -> int:
    """Most bytes this process has had, or 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def work(seed: int, inputs: int, seconds: Optional[float]) -> Report:
    """Fuzz in this process."""
    fuzzer = Fuzzer(seed)
    started = time.perf_counter()
    done = 0
    before = 0
    while done < inputs and (seconds is None or time.perf_counter() - started < seconds):
        count = min(500, inputs - done)
        try:
            fuzzer.run(count)
        except Exception:
            trace = traceback.format_exc()
            failure = Failure(fuzzer.target, fuzzer.data, trace)
            return Report(done, dict(fuzzer.counts), 0, failure)
        done += count
        # From here on the caches are full, and nothing else may stay.
        before = before or (memory() if done >= min(20_000, inputs // 2) else 0)
    return Report(done, dict(fuzzer.counts), memory() - before, None)


#: Most bytes that a process may grow by once its caches are full.
MAX_GROWTH = 32 * 1024 * 1024


def fuzz(inputs: int, seed: int, seconds: Optional[float] = None, jobs: int = 1) -> bool:
    """Fuzz, print what came of it, and say whether all is well."""
    started = time.perf_counter()
    shares = [(seed + job, (inputs + job) // jobs, seconds) for job in range(jobs)]
    if jobs == 1:
        reports = [work(*shares[0])]
    else:
        with multiprocessing.Pool(jobs) as pool:
            reports = pool.starmap(work, shares)
    spent = time.perf_counter() - started
    done = sum(report.inputs for report in reports)
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.counts)
    print(f"{done} inputs in {spent:.1f} s, {done / spent:.0f} a second, seed {seed}, {jobs} jobs")
    for name, count in sorted(counts.items()):
        print(f"{count:10} {name}")
    grown = max(report.grown for report in reports)
    print(f"grown by {grown // 1024} KiB")
    for report in reports:
        if report.failure is not None:
            print("FAILED: {}\ninput {!r}\n{}".format(*report.failure))
    return grown <= MAX_GROWTH and all(report.failure is None for report in reports)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run")
    parser.add_argument("--seconds", type=float, default=None, help="end after so long")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    return 0 if fuzz(options.inputs, seed, options.seconds, max(1, options.jobs)) else 1


if __name__ == "__main__":
    sys.exit(main())
