"""XMPP messages are exact or rejected, with a real Asterisk and a real XMPP server."""

from __future__ import annotations

import itertools
import time
from typing import Iterator, List, NamedTuple

import pytest

from tests.damage import XmppRaw, xmpp_breaks
from tests.live.delivery import TIMEOUT, Delivery, send_raw, wire
from tests.live.servers import Live
from tests.live.xmpp import HOST, XmppClient, asterisk_extra, find_prosody, prosody
from tests.refusals import REFUSALS, XMPP, Refusal, name_of

_TO = f"xmpp:bob@{HOST}"
_FROM = "xmpp:account"

#: Seconds until Asterisk is logged in; it retries by its own timer.
_LOGIN_TIMEOUT = 60.0

_EXACT = [
    "Someone is at the door", "one\ntwo\n\nthree\n", "   three spaces before, one after ",
    "\n before", "\ttabs\tall\tover\t", "<&>\"'", "</body></message><message to='mallory'/>",
    "&amp; &#10; &lt;", "]]>", "<!-- -->", "<![CDATA[x]]>", "呼び鈴 🔔🚪 👩\u200d👧 e\u0301",
    "\x7f \x85 \u2028 \xa0 \ufeff \ufffd \U0010ffff", "%s %n $ \\ ' , ; ( ) [ ]", "x" * 1016,
    "\n" + "<" * 755,
]  # fmt: skip

#: These need a server that no other test uses.
_DAMAGING = [row for row in REFUSALS if row.technologies == XMPP and row.damage is not None]

_numbers = itertools.count()


class Xmpp(NamedTuple):
    """An Asterisk that is logged in, and the client that receives its messages."""

    live: Live
    bob: XmppClient

    def await_login(self) -> None:
        """Wait until Asterisk is logged in at the XMPP server."""
        deadline = time.monotonic() + _LOGIN_TIMEOUT
        while "Connected" not in self.live.server.cli("xmpp show connections"):
            assert time.monotonic() < deadline, self.live.server.log_tail()
            time.sleep(0.05)

    def received(self, delivery: Delivery) -> List[str]:
        """Return all new texts at the client."""
        marker = f"marker {next(_numbers)}"
        delivery.send(to=_TO, body=marker, from_=_FROM)
        return self.before(marker)

    def before(self, marker: str) -> List[str]:
        """Return the texts that arrived before the marker."""
        return list(iter(lambda: self.bob.next_body(TIMEOUT), marker))


@pytest.fixture(scope="module")
def xmpp(live: Live, request: pytest.FixtureRequest) -> Iterator[Xmpp]:
    program = find_prosody()
    if program is None:
        reason = "prosody is not installed (Debian package prosody)"
        if request.config.getoption("--live") == "auto":
            pytest.skip(reason)
        pytest.fail(reason, pytrace=False)
    with prosody(program) as xmpp_port:
        extra = asterisk_extra(xmpp_port)
        with live.another_server(extra) as server:
            if "xmpp" not in server.technologies:
                pytest.skip(f"Asterisk {server.version} has no res_xmpp")
            with XmppClient(xmpp_port, "bob") as bob:
                found = Xmpp(Live(server, live.phone), bob)
                found.await_login()
                yield found


@pytest.mark.parametrize("text", _EXACT, ids=range(len(_EXACT)))
def test_text_arrives_exactly(xmpp: Xmpp, text: str) -> None:
    with Delivery(xmpp.live, xmpp.live.technology) as delivery:
        delivery.send(to=_TO, body=text, from_=_FROM)
        assert xmpp.received(delivery) == [text]


@pytest.mark.parametrize(
    "row",
    [row for row in REFUSALS if "xmpp" in row.technologies and not row.banners
     # The client adds its own ActionID.
     and row.field != "ActionID"],
    ids=name_of,
)  # fmt: skip
def test_rejected_before_a_byte_is_sent(xmpp: Xmpp, row: Refusal) -> None:
    with Delivery(xmpp.live, xmpp.live.technology) as delivery:
        before = delivery.written
        with pytest.raises(row.error):
            delivery.send(**row.asked("xmpp"))
        assert delivery.written == before
        assert xmpp.received(delivery) == []


@pytest.mark.parametrize("row", _DAMAGING, ids=name_of)
def test_damage(xmpp: Xmpp, row: Refusal) -> None:
    server = xmpp.live.server
    raw = send_raw(xmpp.live, xmpp.live.technology, wire(row.lines("xmpp", 0)))
    if row.damage is xmpp_breaks:
        deadline = time.monotonic() + TIMEOUT
        while "Connected" in server.cli("xmpp show connections"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # It reconnects by itself, but waits twice as long each time.
        server.stop()
        server.start()
        xmpp.await_login()
    with Delivery(xmpp.live, xmpp.live.technology) as delivery:
        texts = tuple(xmpp.received(delivery))
    assert row.damage is not None and row.damage(XmppRaw(raw.responses, texts)), raw
