"""Encoding a MessageSend with a body and three variables, checks included, against an f-string."""

from __future__ import annotations

from typing import List, Tuple

from amiproto import MessageSend
from tests.benchmarks.common import interleave, is_short, ratio, show

Values = Tuple[str, str, str, str, str, str, str]


def messages(count: int, phones: int) -> List[Values]:
    """Messages with other texts and values each time, to so many phones in turn."""
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
    """The same bytes from a MessageSend."""
    for action_id, to, from_, body, one, two, three in values:
        variables = {"X-Door": one, "X-Place": two, "X-Time": three}
        MessageSend(to, body, from_, variables, action_id=action_id).wire


def main() -> None:
    short = is_short()
    count = 500 if short else 5000
    for phones in (100, count):
        values = messages(count, phones)
        took = interleave(
            {"floor": lambda: floor(values), "encode": lambda: encode(values)}, 3 if short else 15
        )
        times = ratio(took["encode"].wall, took["floor"].wall)
        show(f"a MessageSend with three variables, {phones} phones", times, "E")


if __name__ == "__main__":
    main()
