"""Many messages with windows of several sizes, on loopback and with 20 ms each way."""

from __future__ import annotations

from typing import Callable, Dict, Iterator

from amiclient import Client
from amiclient.loopback import SECRET, USERNAME
from tests.benchmarks.common import interleave, is_short, ratio, serving, show

WINDOWS = (1, 4, 16, 32, 64)


def messages(count: int) -> Iterator[Dict[str, str]]:
    return ({"to": "pjsip:alice", "body": f"message {number}"} for number in range(count))


def bulk(client: Client, count: int, window: int) -> None:
    """Send so many, and see that each was taken, in order."""
    expected = 0
    for result in client.send_messages(messages(count), window=window):
        assert result.outcome == "accepted", result
        assert result.message["body"] == f"message {expected}"
        expected += 1
    assert expected == count


def measure(where: str, port: int, counts: Dict[int, int], rounds: int, target: str) -> None:
    """The time for each message, window 1 against the others."""
    with Client("127.0.0.1", port, username=USERNAME, secret=SECRET) as client:
        functions: Dict[str, Callable[[], object]] = {
            str(window): lambda window=window: bulk(  # type: ignore[misc]
                client, counts[window], window
            )
            for window in WINDOWS
        }
        took = interleave(functions, rounds)
    one = [seconds / counts[1] for seconds in took["1"].wall]
    for window in WINDOWS[1:]:
        each = [seconds / counts[window] for seconds in took[str(window)].wall]
        goal = target if window == 32 else None
        show(f"window {window}, {where}", ratio(one, each), "times the rate of window 1", goal)


def main() -> None:
    short = is_short()
    rounds = 3 if short else 7
    with serving() as port:
        counts = dict.fromkeys(WINDOWS, 200 if short else 2000)
        measure("loopback", port, counts, rounds, "at least 1.8")
    with serving("20") as port:
        counts = {window: window * (4 if short else 20) for window in WINDOWS}
        measure("20 ms each way", port, counts, rounds, "at least 25")


if __name__ == "__main__":
    main()
