"""Streams like those of servers, different in every round.

A decoder with a cache looks fast on a repeated stream. The ids, channels, times, numbers and names
of real calls do not repeat, so they do not repeat here.
"""

from __future__ import annotations

import random
import re
from typing import List

from tests.benchmarks.common import CAPTURES

#: The size of a chunk in bytes, as sockets return it.
CHUNK = 64 * 1024

#: The number of lines in an event of Asterisk 11.
OLD_LINES = 10

_NUMBER = re.compile(rb"\d{2,}")
_NAME = re.compile(rb"(?<=Name: )[A-Z][a-z]+")


def stanzas(capture: str, *, calls: bool = False) -> List[bytes]:
    """Return the stanzas of a recorded stream, without their blank lines.

    :param calls: only events with a channel.
    """
    found = (CAPTURES / capture).read_bytes().split(b"\r\n", 1)[1].split(b"\r\n\r\n")[:-1]
    if calls:
        found = [s for s in found if s.startswith(b"Event: ") and b"\r\nChannel: " in s]
    return found


def shortened(templates: List[bytes]) -> List[bytes]:
    """Return the first lines of each stanza, as many as old servers send."""
    return [b"\r\n".join(stanza.split(b"\r\n")[:OLD_LINES]) for stanza in templates]


def fresh(templates: List[bytes], seed: int) -> List[bytes]:
    """Return the stanzas with other numbers and names, which depend on the seed."""
    chance = random.Random(seed)

    def number(found: "re.Match[bytes]") -> bytes:
        size = len(found.group())
        return b"%0*d" % (size, chance.randrange(10**size))

    def name(found: "re.Match[bytes]") -> bytes:
        return bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=len(found.group())))

    joined = b"\r\n\r\n".join(templates)
    return _NAME.sub(name, _NUMBER.sub(number, joined)).split(b"\r\n\r\n")


def chunks(parts: List[bytes], size: int = CHUNK) -> List[bytes]:
    """Return the stream of these stanzas in chunks."""
    data = b"\r\n\r\n".join(parts) + b"\r\n\r\n"
    return [data[start : start + size] for start in range(0, len(data), size)]
