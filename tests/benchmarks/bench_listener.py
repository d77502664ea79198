"""What a thread in ``events()`` costs the calls of another on the same client."""

from __future__ import annotations

import argparse
import statistics
from threading import Thread
from time import perf_counter, sleep
from typing import List

from amiclient import AMIError, Client
from amiclient.loopback import SECRET, USERNAME
from tests.benchmarks.bench_end_to_end import live
from tests.benchmarks.common import serving, show


def _listen(client: Client) -> None:
    try:
        for _ in client.events(timeout=None):
            pass
    except AMIError:
        pass  # it was closed


def _times(client: Client, count: int) -> List[float]:
    took = []
    for _ in range(count):
        start = perf_counter()
        client.send_message("pjsip:alice", "hello")
        took.append(perf_counter() - start)
    return took


def measure(port: int, username: str, secret: str, count: int, where: str) -> None:
    """Median and worst time of a call, in turns without the listener and beside it."""
    alone: List[float] = []
    beside: List[float] = []
    for _ in range(5):
        for took, listens in ((alone, False), (beside, True)):
            client = Client("127.0.0.1", port, username=username, secret=secret)
            client.connect()
            thread = Thread(target=_listen, args=(client,))
            if listens:
                thread.start()
                sleep(0.05)
            took += _times(client, count // 5)
            client.close()
            if listens:
                thread.join()
    show(f"median of a call alone, {where}", statistics.median(alone) * 1e3, "ms")
    show(f"worst of a call alone, {where}", max(alone) * 1e3, "ms")
    target = "at most 1.5"
    medians = statistics.median(beside) / statistics.median(alone)
    show(f"median beside a listener, {where}", medians, "times", target)
    show(f"worst beside a listener, {where}", max(beside) / max(alone), "times", target)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="few rounds, small numbers")
    parser.add_argument("--asterisk", metavar="SUITE", help="bullseye (16) or sid (22)")
    options = parser.parse_args()
    count = 100 if options.short else 1000
    with serving() as port:
        measure(port, USERNAME, SECRET, count, "loopback")
    if options.asterisk:
        with live(options.asterisk) as (port, username, secret):
            measure(port, username, secret, count, f"Asterisk ({options.asterisk})")


if __name__ == "__main__":
    main()
