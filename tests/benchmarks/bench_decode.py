"""Decoding, compared with the least that Python can do with a stream.

Every round decodes a new stream once. If the package astami is installed, it is measured, too; all
streams are without stanzas that are not UTF-8, because it cannot read them.
"""

from __future__ import annotations

import asyncio
import importlib
import statistics
from functools import partial
from itertools import count, zip_longest
from time import process_time
from typing import Any, Callable, Dict, List, Optional, Union

from amiproto import NEED_DATA, Action, Banner, Connection, Event, Response, Role, Session
from tests.benchmarks import streams
from tests.benchmarks.common import logged_in, options, show

Work = Callable[[List[bytes]], object]
#: Every stream has a seed of its own.
SEEDS = count(1)


def floor(chunks: List[bytes]) -> None:
    """P: split at blank lines, decode, split lines, partition, and fill a dict."""
    rest = b""
    for chunk in chunks:
        *stanzas, rest = (rest + chunk).split(b"\r\n\r\n")
        for stanza in stanzas:
            headers = {}
            for line in stanza.decode("utf-8", "replace").split("\r\n"):
                name, _, value = line.partition(": ")
                headers[name] = value


def connected() -> Connection:
    """Return a client's connection after the banner."""
    connection = Connection(Role.CLIENT)
    connection.receive_data(Banner("11.0.0").wire)
    connection.next_event()
    return connection


def drain(reader: Union[Connection, Session], chunks: List[bytes]) -> None:
    next_event = reader.next_event
    for chunk in chunks:
        reader.receive_data(chunk)
        while next_event() is not NEED_DATA:
            pass


def cut(chunks: List[bytes]) -> None:
    """Find every stanza, and read no header."""
    drain(connected(), chunks)


def read_all(chunks: List[bytes]) -> None:
    """Read every header of every stanza."""
    connection = connected()
    next_event = connection.next_event
    for chunk in chunks:
        connection.receive_data(chunk)
        message = next_event()
        while message is not NEED_DATA:
            message.headers.items()  # type: ignore[union-attr]
            message = next_event()


def by_name(*names: str) -> Work:
    """Return a function that reads the name and three headers of each event, as programs do."""

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


def astami(use: Optional[Callable[[Any], object]]) -> Work:
    """Return a function that reads stanzas as astami does, without its timeouts.

    :param use: called with each parsed stanza; None if they are not parsed.
    """
    parse = importlib.import_module("astami").AMIResponse.from_raw

    async def read(chunks: List[bytes]) -> None:
        reader = asyncio.StreamReader(limit=2 * streams.CHUNK)
        for chunk in chunks:
            reader.feed_data(chunk)
            for _ in range(chunk.count(b"\r\n\r\n")):
                data = await reader.readuntil(b"\r\n\r\n")
                if use is not None:
                    use(parse(data.decode("utf-8")))

    return lambda chunks: asyncio.run(read(chunks))


def timed(work: Work, chunks: List[bytes]) -> float:
    started = process_time()
    work(chunks)
    return process_time() - started


def compare(works: Dict[str, Work], templates: List[bytes], rounds: int) -> Dict[str, float]:
    """Return the median time of each function as a multiple of P.

    P is measured directly before each function, so that other load affects both.
    """
    ratios: Dict[str, List[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            base = timed(floor, streams.chunks(streams.fresh(templates, next(SEEDS))))
            took = timed(work, streams.chunks(streams.fresh(templates, next(SEEDS))))
            ratios[name].append(took / base)
    return {name: statistics.median(values) for name, values in ratios.items()}


def flood(templates: List[bytes], rounds: int) -> float:
    """Return the median time to match 100 responses between many events, as a multiple of P."""
    ratios = []
    for _ in range(rounds):
        session = logged_in(events="on")
        stanzas = streams.fresh(templates, next(SEEDS))
        step = len(stanzas) // 100
        for number in range(100):
            action_id = session.send(Action("Ping")).action_id
            response = Response("Success", [("Ping", "Pong")], action_id=action_id).wire[:-4]
            stanzas.insert(number * (step + 1), response)

        chunks = streams.chunks(stanzas)
        base = timed(floor, chunks)
        ratios.append(timed(partial(drain, session), chunks) / base)
        assert not session.outstanding
    return statistics.median(ratios)


HEADERS = ("Channel", "Uniqueid", "Context")

WORKS: Dict[str, Work] = {
    "name and three headers of each event": by_name(*HEADERS),
    "the same in another case than on the wire": by_name("channel", "UNIQUEID", "conText"),
    "every header": read_all,
    "no header": cut,
}


def is_utf8(stanza: bytes) -> bool:
    return stanza.decode("utf-8", "ignore").encode() == stanza


def main() -> None:
    rounds = 3 if options().short else 15
    works = dict(WORKS)
    try:
        works["name and three headers of each event (astami)"] = astami(
            lambda found: [found.data.get(name) for name in ("Event", *HEADERS)]
        )
        works["every header (astami)"] = astami(lambda found: found.data)
        works["no header (astami)"] = astami(None)
    except ImportError:
        pass
    for capture in ("asterisk-16.bin", "asterisk-22.bin"):
        calls = streams.stanzas(capture, calls=True)
        whole = streams.stanzas(capture)
        for kind, templates, aims in (
            ("events of calls", calls, (1.1, None, 1.55, 0.3)),
            ("the whole capture", whole, (1.1, None, 1.55, 0.3)),
            ("10 lines, as from old servers", streams.shortened(calls), (1.7, None, 1.95, 0.45)),
        ):
            size = sum(map(len, templates)) / len(templates)
            print(f"{capture}, {kind}: {len(templates)} stanzas of {size:.0f} bytes")
            found = compare(works, list(filter(is_utf8, templates)) * 3, rounds)
            for (what, value), target in zip_longest(found.items(), aims):
                show(f"  {what}", value, "P", None if target is None else f"at most {target}")
        show(f"{capture}: responses matched", flood(calls * 4, rounds), "P", "at most 0.45")
    cutting(rounds)
    one_stanza(min(rounds, 7))


def cutting(rounds: int) -> None:
    """Show the time per byte for several chunk sizes, with and without the cost of the calls."""
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
        show(f"time per byte in chunks of {size}, compared with {streams.CHUNK}", raw, "times")
        show("  without the time of as many calls with no data", net, "times")


def one_stanza(rounds: int) -> None:
    """Show the time of a stanza of 1 MB in chunks of 16 bytes."""
    line = b"Output: " + b"x" * 90 + b"\r\n"
    data = b"Response: Success\r\n" + line * 10000 + b"\r\n"
    chunks = [data[start : start + 16] for start in range(0, len(data), 16)]
    took = min([timed(cut, chunks) for _ in range(rounds)])
    show(f"one stanza of {len(data)} bytes in chunks of 16", took, "s")


if __name__ == "__main__":
    main()
