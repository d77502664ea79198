"""Many messages with windows of several sizes, without delay and with 20 ms in each direction."""

from __future__ import annotations

from functools import partial
from typing import Callable, Dict, Iterator

from amiclient import Client
from tests.benchmarks.common import Server, interleave, options, ratio, serving, show

WINDOWS = (1, 4, 16, 32, 64)


def messages(count: int) -> Iterator[Dict[str, str]]:
    return ({"to": "pjsip:alice", "body": f"message {number}"} for number in range(count))


def send(client: Client, count: int, window: int) -> None:
    """Send messages, and check that all were accepted, in order."""
    expected = 0
    for result in client.send_messages(messages(count), window=window):
        assert result.outcome == "accepted", result
        assert result.message["body"] == f"message {expected}"
        expected += 1
    assert expected == count


def measure(server: Server, counts: Dict[int, int], rounds: int, target: str) -> None:
    """Compare the time per message of window 1 with that of other windows."""
    with server.client() as client:
        functions: Dict[str, Callable[[], object]] = {
            str(window): partial(send, client, counts[window], window) for window in WINDOWS
        }
        times = interleave(functions, rounds)
    one = [seconds / counts[1] for seconds in times["1"].wall]
    for window in WINDOWS[1:]:
        each = [seconds / counts[window] for seconds in times[str(window)].wall]
        goal = target if window == 32 else None
        what = f"window {window}, {server.label}"
        show(what, ratio(one, each), "times the rate of window 1", goal)


def main() -> None:
    short = options().short
    rounds = 3 if short else 7
    with serving() as server:
        counts = dict.fromkeys(WINDOWS, 200 if short else 2000)
        measure(server, counts, rounds, "at least 1.8")
    with serving("--delay", "20") as server:
        counts = {window: window * (4 if short else 20) for window in WINDOWS}
        measure(server, counts, rounds, "at least 25")


if __name__ == "__main__":
    main()
