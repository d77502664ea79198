"""The memory of many messages, of a session, and of a decoded event."""

from __future__ import annotations

import os
import resource
import tracemalloc
from typing import List

from amiproto import NEED_DATA, Message, Session
from tests.benchmarks import contender, streams
from tests.benchmarks.bench_decode import connected
from tests.benchmarks.common import options, serving, show


def peak() -> float:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> None:
    short = options().short
    batch(20_000 if short else 1_000_000)
    tracemalloc.start()
    sessions = [Session("u", "s", entropy=os.urandom(16)) for _ in range(100)]
    show("a session", tracemalloc.get_traced_memory()[0] / len(sessions) / 1024.0, "KiB")
    events()


def batch(count: int) -> None:
    """Check that the peak does not grow after the first tenth of many messages."""
    with serving() as server:
        with server.client() as client:
            results = client.send_messages(map(contender.message, range(count)), window=32)
            for _ in range(count // 10):
                next(results)
            before = peak()
            for result in results:
                assert result.outcome == "accepted"
    show(f"growth of the peak in the last 9/10 of {count} messages", peak() - before, "MiB", "flat")


def events() -> None:
    """Show the memory of a decoded event, before and after its headers are read."""
    data = b"".join(streams.chunks(streams.stanzas("asterisk-22.bin")))
    connection = connected()
    connection.receive_data(data)
    before = tracemalloc.get_traced_memory()[0]
    kept: List[Message] = list(iter(connection.next_event, NEED_DATA))  # type: ignore[arg-type]
    unread = tracemalloc.get_traced_memory()[0]
    for message in kept:
        message.headers.get("Channel")
    read = tracemalloc.get_traced_memory()[0]
    show("a decoded event, before its headers are read", (unread - before) / len(kept), "bytes")
    show("  additional memory after reading them", (read - unread) / len(kept), "bytes")
    show("  its size on the wire", len(data) / len(kept), "bytes")


if __name__ == "__main__":
    main()
