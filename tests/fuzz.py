"""Fuzzing with random inputs and the properties of ``tests/fuzzing``.

    python3 tests/fuzz.py --inputs 2000000 [--seed N] [--seconds S] [--jobs N]

An input consists of mutated samples and is run by one target. A failing input is printed, and the
exit code is 1.
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

#: The weight of each target. The loopback server is slow, because each input needs a socket.
WEIGHTS = {"client": 40, "server": 40, "session": 10, "message_send": 10}


class Failure(NamedTuple):
    """An input that failed."""

    target: str
    data: bytes
    trace: str


class Report(NamedTuple):
    """The result of one process."""

    inputs: int
    counts: Dict[str, int]
    growth: int
    failure: Optional[Failure]


class Fuzzer:
    """Generates and runs inputs, and counts events."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.target = ""
        self.data = b""

    def make(self, name: str) -> bytes:
        """Return an input: mutated samples, or random bytes."""
        chance = self.random.random
        _, head, groups, tokens, *_ = TARGETS[name]
        data = bytearray(self._any_bytes(head))
        if chance() < 0.05:
            return bytes(data) + self._any_bytes(int(chance() * 200))
        # Choose a group first, because the recorded samples outnumber the others.
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
        """Generate and run inputs; raise the error of one that fails."""
        names = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=inputs)
        for self.target in names:
            self.data = self.make(self.target)
            self.counts.update(TARGETS[self.target].run(self.data))


def memory() -> int:
    """Return the peak memory of this process in bytes, or 0 if it is unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def work(seed: int, inputs: int, seconds: Optional[float]) -> Report:
    """Run one process's share."""
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
        # By now caches are full, and memory must not grow.
        before = before or (memory() if done >= min(20_000, inputs // 2) else 0)
    return Report(done, dict(fuzzer.counts), memory() - before, None)


#: The memory that a process may gain after the first inputs, in bytes.
MAX_GROWTH = 32 * 1024 * 1024


def fuzz(inputs: int, seed: int, seconds: Optional[float] = None, jobs: int = 1) -> bool:
    """Run inputs, print the results, and return True if nothing failed."""
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
    growth = max(report.growth for report in reports)
    print(f"memory growth: {growth // 1024} KiB")
    for report in reports:
        if report.failure is not None:
            print("FAILED: {}\ninput {!r}\n{}".format(*report.failure))
    return growth <= MAX_GROWTH and all(report.failure is None for report in reports)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run")
    parser.add_argument("--seconds", type=float, default=None, help="time limit")
    parser.add_argument(
        "--jobs", type=int, default=multiprocessing.cpu_count(), help="number of processes"
    )
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    return 0 if fuzz(options.inputs, seed, options.seconds, max(1, options.jobs)) else 1


if __name__ == "__main__":
    sys.exit(main())
