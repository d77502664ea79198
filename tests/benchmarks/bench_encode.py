"""Encoding a MessageSend with three variables, including checks, compared with an f-string."""

from __future__ import annotations

from typing import List, Tuple

from amiproto import MessageSend
from tests.benchmarks.common import interleave, options, ratio, show

Values = Tuple[str, str, str, str, str, str, str]


def messages(count: int, phones: int) -> List[Values]:
    """Return messages with different texts and values to a number of phones."""
    return [
        (
            f"{number:032x}",
            f"pjsip:phone{number % phones}",
            "Door <sip:door@example.org>",
            f"Someone is at door number {number}",
            f"{number}",
            f"front {number}",
            f"2026-01-01T00:00:{number % 60:02}",
        )
        for number in range(count)
    ]


def floor(values: List[Values]) -> None:
    """E: an f-string and .encode()."""
    for action_id, to, from_, body, one, two, three in values:
        (
            f"Action: MessageSend\r\nActionID: {action_id}\r\nTo: {to}\r\nFrom: {from_}\r\n"
            f"Variable: X-Door={one}\r\nVariable: X-Place={two}\r\nVariable: X-Time={three}\r\n"
            f"Body: {body}\r\n\r\n"
        ).encode()


def encode(values: List[Values]) -> None:
    """Create the same bytes with MessageSend."""
    for action_id, to, from_, body, one, two, three in values:
        variables = {"X-Door": one, "X-Place": two, "X-Time": three}
        MessageSend(to, body, from_, variables, action_id=action_id).wire


def main() -> None:
    short = options().short
    count = 500 if short else 5000
    for phones in (100, count):
        values = messages(count, phones)
        times = interleave(
            {"floor": lambda: floor(values), "encode": lambda: encode(values)}, 3 if short else 15
        )
        factor = ratio(times["encode"].wall, times["floor"].wall)
        show(f"a MessageSend with three variables, {phones} phones", factor, "E")


if __name__ == "__main__":
    main()
