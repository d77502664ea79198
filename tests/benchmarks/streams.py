"""Streams as servers send them, made anew for every round.

A decoder that remembers what it has seen looks fast on a stream that comes again and again. In life
the ids, channels, times, numbers and names of calls never come back, so that none does here.
"""

from __future__ import annotations

import random
import re
from typing import Iterator, List

from tests.benchmarks.common import CAPTURES

#: Bytes of a chunk, as sockets give them.
CHUNK = 64 * 1024

#: Lines of a stanza as old servers send it: Asterisk 11 has some ten to an event.
OLD_LINES = 10

_NUMBER = re.compile(rb"\d{2,}")
_NAME = re.compile(rb"(?<=Name: )[A-Z][a-z]+")


def stanzas(capture: str, *, calls: bool = False) -> List[bytes]:
    """The stanzas of a recorded stream, without their blank lines.

    :param calls: only the events of calls: those that name a channel.
    """
    found = (CAPTURES / capture).read_bytes().split(b"\r\n", 1)[1].split(b"\r\n\r\n")[:-1]
    if calls:
        found = [s for s in found if s.startswith(b"Event: ") and b"\r\nChannel: " in s]
    return found


def shortened(templates: List[bytes]) -> List[bytes]:
    """The same with the first lines only, as many as old servers send."""
    return [b"\r\n".join(stanza.split(b"\r\n")[:OLD_LINES]) for stanza in templates]


def fresh(templates: List[bytes], seed: int) -> List[bytes]:
    """The same stanzas with other numbers and names, the same ones for the same seed."""
    chance = random.Random(seed)

    def number(found: "re.Match[bytes]") -> bytes:
        size = len(found.group())
        return b"%0*d" % (size, chance.randrange(10**size))

    def name(found: "re.Match[bytes]") -> bytes:
        return bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=len(found.group())))

    joined = b"\r\n\r\n".join(templates)
    return _NAME.sub(name, _NUMBER.sub(number, joined)).split(b"\r\n\r\n")


def chunks(parts: List[bytes], size: int = CHUNK) -> List[bytes]:
    """A stream of these stanzas, in pieces of so many bytes."""
    data = b"\r\n\r\n".join(parts) + b"\r\n\r\n"
    return [data[start : start + size] for start in range(0, len(data), size)]


def seeds() -> Iterator[int]:
    """Seeds, none of which comes again."""
    yield from range(1, 1_000_000)
