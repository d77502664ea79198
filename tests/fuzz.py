"""Fuzzing with random inputs and the properties of ``tests/fuzzing``.

    python3 tests/fuzz.py --inputs 2000000 [--seed N] [--jobs N]

An input consists of mutated samples and is run by one target. A failing input is printed, and the
exit code is 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from pathlib import Path
from random import Random
from typing import Counter, NamedTuple, Optional, Sequence

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fuzzing.targets import TARGETS  # noqa: E402

#: The weight of each target. The loopback server is slow, because each input needs a socket.
WEIGHTS = {"client": 40, "server": 40, "session": 10, "message_send": 10}


def make(random: Random, name: str) -> bytes:
    """Return an input for a target: mutated samples, or random bytes."""
    chance = random.random
    _, head, groups, tokens, *_ = TARGETS[name]
    data = bytearray(any_bytes(random, head))
    if chance() < 0.05:
        return bytes(data) + any_bytes(random, int(chance() * 200))
    # Choose a group first, because the recorded samples outnumber the others.
    samples = random.choice(groups)
    for _ in range(1 + int(chance() * 3)):
        data += random.choice(samples)
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
            data[place:place] = random.choice(tokens)
        else:
            data[place:end] = any_bytes(random, 8)
    return bytes(data)


def any_bytes(random: Random, size: int) -> bytes:
    return random.getrandbits(8 * size + 1).to_bytes(size + 1, "little")[:size]


def memory() -> int:
    """Return the peak memory of this process in bytes, or 0 if it is unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Report(NamedTuple):
    """The result of one process."""

    #: How often each event and error was reached.
    counts: Counter[str]
    #: The growth of the peak memory in bytes.
    growth: int
    #: The input that failed, with its target and traceback, or an empty string.
    failure: str = ""


def work(seed: int, inputs: int) -> Report:
    """Generate and run inputs, in one process, until one fails."""
    random = Random(seed)
    counts: Counter[str] = Counter()
    before = memory()
    for number, name in enumerate(random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=inputs)):
        data = make(random, name)
        try:
            counts.update(TARGETS[name].run(data))
        except Exception:
            return Report(counts, 0, f"{name}\ninput {data!r}\n{traceback.format_exc()}")
        if number == min(20_000, inputs // 2):
            before = memory()  # by now caches are full, and memory must not grow
    return Report(counts, memory() - before)


#: The memory that a process may gain after the first inputs, in bytes.
MAX_GROWTH = 32 * 1024 * 1024


def fuzz(inputs: int, seed: int, jobs: int = 1) -> bool:
    """Run inputs, print the results, and return True if nothing failed."""
    started = time.perf_counter()
    shares = [(seed + job, (inputs + job) // jobs) for job in range(jobs)]
    if jobs == 1:
        reports = [work(*shares[0])]
    else:
        with multiprocessing.Pool(jobs) as pool:
            reports = pool.starmap(work, shares)
    counts: Counter[str] = sum((report.counts for report in reports), Counter())
    print(f"{inputs} inputs in {time.perf_counter() - started:.1f} s, seed {seed}, {jobs} jobs")
    for name, count in sorted(counts.items()):
        print(f"{count:10} {name}")
    growth = max(report.growth for report in reports)
    print(f"memory growth: {growth // 1024} KiB")
    failures = [report.failure for report in reports if report.failure]
    for failure in failures:
        print(f"FAILED: {failure}")
    return growth <= MAX_GROWTH and not failures


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="to repeat a run")
    jobs = multiprocessing.cpu_count()
    parser.add_argument("--jobs", type=int, default=jobs, help="number of processes")
    options = parser.parse_args(arguments)
    return 0 if fuzz(options.inputs, options.seed, options.jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
