"""Memory: of a large batch, of a connection, of a decoded event."""

from __future__ import annotations

import os
import resource
import tracemalloc
from typing import Iterator, List

from amiclient import Client
from amiclient.loopback import SECRET, USERNAME
from amiproto import NEED_DATA, Message, Session
from tests.benchmarks import streams
from tests.benchmarks.bench_bulk import messages
from tests.benchmarks.bench_decode import connected
from tests.benchmarks.common import is_short, serving, show


def peak() -> float:
    """The most memory this process has had so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> None:
    short = is_short()
    batch(20_000 if short else 1_000_000)
    tracemalloc.start()
    sessions = [Session("u", "s", entropy=os.urandom(16)) for _ in range(100)]
    show("a session", tracemalloc.get_traced_memory()[0] / len(sessions) / 1024.0, "KiB")
    events()


def batch(count: int) -> None:
    """The peak may not grow between the first tenth of a batch and its end."""
    with serving() as port:
        with Client("127.0.0.1", port, username=USERNAME, secret=SECRET) as client:
            results = client.send_messages(messages(count), window=32)
            for _ in range(count // 10):
                next(results)
            before = peak()
            for result in results:
                assert result.outcome == "accepted"
    show(f"growth of the peak over the last 9/10 of {count}", peak() - before, "MiB", "flat")


def events() -> None:
    """What a decoded event takes, its headers unread and read."""
    data = b"".join(streams.chunks(streams.stanzas("asterisk-22.bin")))
    connection = connected()
    connection.receive_data(data)
    before = tracemalloc.get_traced_memory()[0]
    kept: List[Message] = list(drain(connection))
    unread = tracemalloc.get_traced_memory()[0]
    for message in kept:
        message.headers.get("Channel")
    read = tracemalloc.get_traced_memory()[0]
    show("a decoded event, headers unread", (unread - before) / len(kept), "bytes")
    show("  headers read, over that", (read - unread) / len(kept), "bytes")
    show("  its bytes on the wire", len(data) / len(kept), "bytes")


def drain(connection: object) -> Iterator[Message]:
    """Every message at hand."""
    while True:
        message = connection.next_event()  # type: ignore[attr-defined]
        if message is NEED_DATA:
            return
        yield message


if __name__ == "__main__":
    main()
