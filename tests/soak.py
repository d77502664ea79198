"""Soak test: send many messages and show whether memory and open files grow.

Run it as ``python3 -m tests.soak --messages 100000``; a test runs it with fewer messages.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from typing import Iterator, List, NamedTuple

from amiclient import ACCEPTED, Client, MessageSend
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from tests.faults import count_open_fds


class Sample(NamedTuple):
    """Memory and open files after a number of messages."""

    messages: int
    rss_kib: int
    files: int
    seconds: float


def rss_kib() -> int:
    """Return the resident memory of this process in KiB, or 0 if unknown."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except OSError:
        return 0


def run(count: int, samples: int = 10, window: int = 32) -> List[Sample]:
    """Send ``count`` messages, a tenth of them one by one, and return samples."""
    taken: List[Sample] = []

    def messages(start: int, end: int) -> Iterator[MessageSend]:
        for number in range(start, end):
            yield MessageSend("pjsip:alice", f"message {number}", variables={"X-A": str(number)})

    with LoopbackServer(keep=0) as server:
        with Client(port=server.port, username=USERNAME, secret=SECRET) as client:
            start = time.monotonic()
            for part in range(samples):
                first, end = count * part // samples, count * (part + 1) // samples
                for message in messages(first, first + (end - first) // 10):
                    client.send(message)
                rest = messages(first + (end - first) // 10, end)
                for result in client.send_messages(rest, window=window):
                    assert result.outcome == ACCEPTED, result
                gc.collect()
                taken.append(Sample(end, rss_kib(), count_open_fds(), time.monotonic() - start))
    return taken


def main() -> None:
    """Print the samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--window", type=int, default=32)
    options = parser.parse_args()
    print(f"{'messages':>10} {'RSS KiB':>10} {'files':>6} {'seconds':>8}")
    for sample in run(options.messages, window=options.window):
        print(
            f"{sample.messages:>10} {sample.rss_kib:>10} {sample.files:>6} {sample.seconds:>8.1f}"
        )


if __name__ == "__main__":
    main()
