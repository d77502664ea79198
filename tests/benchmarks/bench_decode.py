"""Decoding: what programs do with a stream, against the least that Python can do with it.

Every round has a stream that was not there before, and decodes it once.
"""

from __future__ import annotations

import statistics
from time import process_time
from typing import Callable, Dict, List

from amiproto import NEED_DATA, Action, ActionResult, Banner, Connection, Event, Response, Role
from tests.benchmarks import streams
from tests.benchmarks.common import is_short, logged_in, show

Work = Callable[[List[bytes]], object]
SEEDS = streams.seeds()


def floor(chunks: List[bytes]) -> None:
    """P: split at blank lines, decode, split lines, partition, put in a dict."""
    rest = b""
    for chunk in chunks:
        *stanzas, rest = (rest + chunk).split(b"\r\n\r\n")
        for stanza in stanzas:
            headers = {}
            for line in stanza.decode("utf-8", "replace").split("\r\n"):
                name, _, value = line.partition(": ")
                headers[name] = value


def connected() -> Connection:
    """A client's connection past the banner."""
    connection = Connection(Role.CLIENT)
    connection.receive_data(Banner("11.0.0").wire)
    connection.next_event()
    return connection


def cut(chunks: List[bytes]) -> None:
    """Every stanza found, no header read."""
    connection = connected()
    next_event = connection.next_event
    for chunk in chunks:
        connection.receive_data(chunk)
        while next_event() is not NEED_DATA:
            pass


def read_all(chunks: List[bytes]) -> None:
    """Every header line of every stanza."""
    connection = connected()
    next_event = connection.next_event
    for chunk in chunks:
        connection.receive_data(chunk)
        message = next_event()
        while message is not NEED_DATA:
            message.headers.items()  # type: ignore[union-attr]
            message = next_event()


def by_name(*names: str) -> Work:
    """What programs do: the name of each event, and three headers of it."""

    def work(chunks: List[bytes]) -> None:
        one, two, three = names
        connection = connected()
        next_event = connection.next_event
        for chunk in chunks:
            connection.receive_data(chunk)
            message = next_event()
            while message is not NEED_DATA:
                if isinstance(message, Event):
                    headers = message.headers
                    message.name, headers.get(one), headers.get(two), headers.get(three)
                message = next_event()

    return work


class Flood:
    """Logged-in sessions, each with answers to its actions spread over a flood of events."""

    ACTIONS = 100

    def __init__(self, templates: List[bytes]) -> None:
        self._templates = templates

    def prepare(self) -> List[bytes]:
        """A session and its stream."""
        self._session = session = logged_in(events="on")
        stanzas = streams.fresh(self._templates, next(SEEDS))
        step = len(stanzas) // self.ACTIONS
        for number in range(self.ACTIONS):
            action_id = session.send(Action("Ping")).action_id
            answer = Response("Success", [("Ping", "Pong")], action_id=action_id).wire[:-4]
            stanzas.insert(number * (step + 1), answer)
        return streams.chunks(stanzas)

    def pair(self, chunks: List[bytes]) -> None:
        """Find each answer."""
        session = self._session
        waiting = set(session.outstanding)
        next_event = session.next_event
        for chunk in chunks:
            session.receive_data(chunk)
            event = next_event()
            while event is not NEED_DATA:
                if isinstance(event, ActionResult):
                    waiting.remove(event.action_id)
                event = next_event()
        assert not waiting


def timed(work: Work, chunks: List[bytes]) -> float:
    started = process_time()
    work(chunks)
    return process_time() - started


def compare(works: Dict[str, Work], templates: List[bytes], rounds: int) -> Dict[str, float]:
    """The medians of what each takes, as a multiple of P on a stream of the same kind.

    In each round P is measured right before each of them, so that what slows down the machine slows
    down both.
    """
    ratios: Dict[str, List[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            base = timed(floor, streams.chunks(streams.fresh(templates, next(SEEDS))))
            took = timed(work, streams.chunks(streams.fresh(templates, next(SEEDS))))
            ratios[name].append(took / base)
    return {name: statistics.median(values) for name, values in ratios.items()}


def flood(templates: List[bytes], rounds: int) -> float:
    """The same for answers that are found in a flood."""
    ratios = []
    made = Flood(templates)
    for _ in range(rounds):
        chunks = made.prepare()
        base = timed(floor, chunks)
        ratios.append(timed(made.pair, chunks) / base)
    return statistics.median(ratios)


WORKS: Dict[str, Work] = {
    "an event's name and three headers by name": by_name("Channel", "Uniqueid", "Context"),
    "the same, spelt otherwise than on the wire": by_name("channel", "UNIQUEID", "conText"),
    "every header line": read_all,
    "cut only, nothing read": cut,
}


def main() -> None:
    rounds = 3 if is_short() else 15
    for capture in ("asterisk-16.bin", "asterisk-22.bin"):
        calls = streams.stanzas(capture, calls=True)
        whole = streams.stanzas(capture)
        for kind, templates, aims in (
            ("events of calls", calls, (0.9, None, 1.2, 0.35)),
            ("the whole capture", whole, (None, None, 1.2, 0.35)),
            ("10 lines, as old servers send", streams.shortened(calls), (1.4, None, 1.5, 0.6)),
        ):
            size = sum(map(len, templates)) / len(templates)
            print(f"{capture}, {kind}: {len(templates)} stanzas of {size:.0f} bytes")
            found = compare(WORKS, templates * 3, rounds)
            for (what, value), aim in zip(found.items(), aims):
                show(f"  {what}", value, "P", None if aim is None else f"at most {aim}")
        show(f"{capture}: answers found in a flood", flood(calls * 4, rounds), "P", "at most 0.45")
    cutting(rounds)
    one_stanza(min(rounds, 7))


def cutting(rounds: int) -> None:
    """The same bytes in pieces of many sizes, and what the calls alone cost."""
    templates = streams.stanzas("asterisk-22.bin")
    sizes = (1, 7, 1460, streams.CHUNK)
    seconds: Dict[int, List[float]] = {size: [] for size in sizes}
    calls: Dict[int, List[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        parts = streams.fresh(templates, next(SEEDS))
        for size in sizes:
            chunks = streams.chunks(parts, size)
            seconds[size].append(timed(cut, chunks))
            calls[size].append(timed(cut, [b""] * len(chunks)))
    whole = statistics.median(seconds[streams.CHUNK])
    for size in sizes[:-1]:
        raw = statistics.median(seconds[size]) / whole
        net = (statistics.median(seconds[size]) - statistics.median(calls[size])) / whole
        show(f"time per byte in pieces of {size}, to pieces of {streams.CHUNK}", raw, "times")
        show("  less what as many calls without a byte take", net, "times")


def one_stanza(rounds: int) -> None:
    """A stanza of 1 MB in pieces of 16 bytes."""
    line = b"Output: " + b"x" * 90 + b"\r\n"
    data = b"Response: Success\r\n" + line * 10000 + b"\r\n"
    chunks = [data[start : start + 16] for start in range(0, len(data), 16)]
    took = min([timed(cut, chunks) for _ in range(rounds)])
    show(f"one stanza of {len(data)} bytes in pieces of 16", took, "s")


if __name__ == "__main__":
    main()
