"""The cost of a thread in ``events()`` for the calls of another thread on the same client."""

from __future__ import annotations

import statistics
from threading import Thread
from time import perf_counter, sleep
from typing import List

from amiclient import AMIError, Client
from tests.benchmarks.common import Server, options, servers, show


def _listen(client: Client) -> None:
    try:
        for _ in client.events(timeout=None):
            pass
    except AMIError:
        pass  # the client was closed


def _times(client: Client, count: int) -> List[float]:
    times = []
    for _ in range(count):
        start = perf_counter()
        client.send_message("pjsip:alice", "hello")
        times.append(perf_counter() - start)
    return times


def measure(server: Server, count: int) -> None:
    """Show the median and the maximum of a call's time, with and without a listener."""
    alone: List[float] = []
    beside: List[float] = []
    for _ in range(5):
        for times, listens in ((alone, False), (beside, True)):
            client = server.client()
            client.connect()
            thread = Thread(target=_listen, args=(client,))
            if listens:
                thread.start()
                sleep(0.05)
            times += _times(client, count // 5)
            client.close()
            if listens:
                thread.join()
    show(f"median of a call alone, {server.label}", statistics.median(alone) * 1e3, "ms")
    show(f"maximum of a call alone, {server.label}", max(alone) * 1e3, "ms")
    target = "at most 1.5"
    medians = statistics.median(beside) / statistics.median(alone)
    show(f"median with a listener, {server.label}", medians, "times", target)
    show(f"maximum with a listener, {server.label}", max(beside) / max(alone), "times", target)


def main() -> None:
    chosen = options(asterisk=True)
    for server in servers(chosen.asterisk):
        measure(server, 100 if chosen.short else 1000)


if __name__ == "__main__":
    main()
