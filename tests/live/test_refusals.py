"""Nothing is refused without need: what each refusal of MessageSend prevents, on real servers.

The table of refusals names the damage; here it is done, by lines that no codec had a look at.
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
from tests.live.delivery import Delivery, send_raw, wire
from tests.live.servers import Live
from tests.refusals import (
    ASTERISK_11,
    ASTERISK_16,
    ASTERISK_22,
    COMPACT,
    REFUSALS,
    RESERVED,
    SIP,
    Refusal,
    name_of,
)

_BANNERS = {16: ASTERISK_16, 22: ASTERISK_22}


@pytest.mark.parametrize(
    "row, technology",
    [(row, technology) for row in REFUSALS if row.damage is not None
     for technology in row.technologies if technology in SIP],
    ids=name_of,
)  # fmt: skip
def test_damage(live: Live, row: Refusal, technology: str) -> None:
    if technology not in live.server.technologies:
        pytest.skip(f"Asterisk {live.server.version} has no {technology}")
    port = live.phone.port
    if not row.banners or _BANNERS[live.server.major] in row.banners:
        with Delivery(live, technology) as delivery:
            before = delivery.written
            with pytest.raises(row.error):
                delivery.send(**row.asked(technology, port))
            assert delivery.written == before and delivery.arrived() == []
    raw = send_raw(live, technology, wire(row.lines(technology, port)))
    # A refusal made for another server than this one's is stated to be so.
    assert row.damage is not None and row.damage(raw) is (live.server.major in row.versions), raw


@pytest.mark.parametrize("technology", SIP)
@pytest.mark.parametrize("text", [b" two", b"\tx", b"\x01x", b"a\nb", b"\nb", b"a\r\nb"])
def test_body_alone_would_not_do(live: Live, technology: str, text: bytes) -> None:
    """Why such texts go out as Base64Body: by Body they are stripped, or cut."""
    if technology not in live.server.technologies:
        pytest.skip(f"Asterisk {live.server.version} has no {technology}")
    lines = ["Action: MessageSend", f"To: {technology}:alice"]
    raw = send_raw(live, technology, wire([*lines, b"Body: " + text]))
    assert only(raw).body == text.partition(b"\n")[0].rstrip(b"\r").lstrip(bytes(range(0x21)))
    raw = send_raw(live, technology, MessageSend(f"{technology}:alice", text).wire)
    assert only(raw).body == text


def test_every_refusal_does_damage() -> None:
    # Before 16.22 Destination is unknown, and no such server is at hand.
    seen = {_raised_at(_refusal(row, technology)) for row in REFUSALS
            for technology in row.technologies
            if row.damage is not None or ASTERISK_11 in row.banners}  # fmt: skip
    # MessageSend refuses the same with the same words.
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
    """Why it is refused to a server that it would do damage on."""
    banner = ASTERISK_11 if ASTERISK_11 in row.banners else _BANNERS[row.versions[0]]
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
