"""No message is rejected needlessly: real servers do the damage that the table of refusals names.

The messages are sent as unchecked lines.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Tuple

import pytest

import amiproto.messaging
from amiproto import LocalProtocolError, MessageSend
from amiproto.messaging._sip import COMPACT_VARIABLES, RESERVED_VARIABLES
from tests.damage import only
from tests.live.delivery import Delivery, require, send_raw, wire
from tests.live.servers import Live
from tests.refusals import (
    ASTERISK_11,
    ASTERISK_22,
    COMPACT,
    REFUSALS,
    RESERVED,
    SIP,
    Refusal,
    name_of,
)


@pytest.mark.parametrize(
    "row, technology",
    [(row, technology) for row in REFUSALS if row.damage is not None
     for technology in row.technologies if technology in SIP],
    ids=name_of,
)  # fmt: skip
def test_damage(live: Live, row: Refusal, technology: str) -> None:
    require(live, technology)
    port, does_damage = live.phone.port, row.versions(live.server.version)
    if does_damage:
        with Delivery(live, technology) as delivery:
            before = delivery.written
            with pytest.raises(row.error):
                delivery.send(**row.asked(technology, port))
            assert delivery.written == before and delivery.arrived() == []
    raw = send_raw(live, technology, wire(row.lines(technology, port)))
    assert row.damage is not None and row.damage(raw) is does_damage, raw


@pytest.mark.parametrize("text", [b" two", b"\tx", b"\x01x", b"a\nb", b"\nb", b"a\r\nb"])
def test_body_header_would_strip_or_cut(live: Live, technology: str, text: bytes) -> None:
    lines = ["Action: MessageSend", f"To: {technology}:alice"]
    raw = send_raw(live, technology, wire([*lines, b"Body: " + text]))
    assert only(raw).body == text.partition(b"\n")[0].rstrip(b"\r").lstrip(bytes(range(0x21)))
    raw = send_raw(live, technology, MessageSend(f"{technology}:alice", text).wire)
    assert only(raw).body == text


def test_every_raise_statement_has_a_row_with_damage() -> None:
    # A server without Destination (before 16.22) is not available.
    seen = {_raised_at(_refusal(row, technology)) for row in REFUSALS
            for technology in row.technologies
            if row.damage is not None or ASTERISK_11 in row.banners}  # fmt: skip
    # MessageSend rejects the same body, at another place.
    with pytest.raises(LocalProtocolError) as caught:
        amiproto.split_body("\ud800")
    seen.add(_raised_at(caught.value))
    for path in sorted(Path(amiproto.messaging.__file__ or "").parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) and _is_refusal(node):
                where = {(path.name, line) for line in range(node.lineno, _end(node) + 1)}
                assert where & seen, f"{path.name}:{node.lineno} has no row"
    assert RESERVED_VARIABLES == {name.lower() for name in RESERVED}
    assert dict(COMPACT_VARIABLES) == {name.lower(): long for name, long in COMPACT.items()}


def _refusal(row: Refusal, technology: str) -> LocalProtocolError:
    """Return the error for a server on which the message would do damage."""
    banner = row.banners[0] if row.banners else ASTERISK_22
    with pytest.raises(row.error) as caught:
        MessageSend(**row.asked(technology)).check_server(banner)
    return caught.value


def _raised_at(error: LocalProtocolError) -> Tuple[str, int]:
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).name, trace.tb_lineno


def _is_refusal(node: ast.Raise) -> bool:
    call = node.exc
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and (call.func.id != "TypeError")
    )


def _end(node: ast.AST) -> int:
    return getattr(node, "end_lineno", None) or 0
