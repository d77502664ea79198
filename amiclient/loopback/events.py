"""Event masks: which events a session receives.

The rules are those of Asterisk (16.28 and 22.10; 11 by its source, but without the class
``security``).
"""

from __future__ import annotations

from typing import Dict

from amiproto import Event
from amiproto._text import to_bytes

#: The event mask of a session without an ``Events`` header, and of one with an invalid value.
DEFAULT_MASK = -1
_ALL = 2**31 - 1

#: The bits of the event classes. Bit 14 has no name.
_CLASSES: Dict[bytes, int] = {
    b"system": 1 << 0, b"call": 1 << 1, b"log": 1 << 2, b"verbose": 1 << 3, b"command": 1 << 4,
    b"agent": 1 << 5, b"user": 1 << 6, b"config": 1 << 7, b"dtmf": 1 << 8, b"reporting": 1 << 9,
    b"cdr": 1 << 10, b"dialplan": 1 << 11, b"originate": 1 << 12, b"agi": 1 << 13, b"cc": 1 << 15,
    b"aoc": 1 << 16, b"test": 1 << 17, b"security": 1 << 18, b"message": 1 << 30,
}  # fmt: skip

_ON = (b"yes", b"true", b"y", b"t", b"on")
_OFF = (b"no", b"false", b"n", b"f", b"off")


def parse_mask(value: bytes) -> int:
    """Return the event mask of an ``Events`` or ``EventMask`` header.

    A name before a comma also means every class that starts with it: ``a,call`` means
    ``all``. Unknown names and capitals are ignored.

    :param value: a number, a word such as ``on`` in any case, or class names (bytes).
    :return: the mask (int), or :data:`DEFAULT_MASK` if the value is empty, or a number that is
        negative as a signed integer of 32 bits.
    """
    if not value:
        return DEFAULT_MASK
    if value.isdigit():
        number = min(int(value), 2**63 - 1) & 0xFFFFFFFF
        return number if number <= _ALL else DEFAULT_MASK
    if value.lower() in _OFF:
        return 0
    if value.lower() in _ON:
        return _ALL
    *prefixes, last = value.split(b",")
    mask = 0
    for name, bits in {**_CLASSES, b"all": _ALL}.items():
        if name == last or name.startswith(tuple(prefixes)):
            mask |= bits
    return mask


def is_admitted(event: Event, mask: int) -> bool:
    """Return whether a session with this mask receives an event.

    The mask needs every class of the event's ``Privilege`` header, and at least one for an event
    without the header.
    """
    classes = to_bytes(event.headers.get("Privilege", "")).split(b",")
    bits = sum(_CLASSES.get(name, 0) for name in set(classes))
    return mask != 0 and mask & bits == bits
