"""What pjsip uses as it is written; what is refused of it stands in the table of refusals.

That the rules are true is shown by the live tests; here is that they are these.
"""

from __future__ import annotations

from typing import Optional

import pytest

from amiproto import MessageSend
from tests.refusals import ASTERISK_16, ASTERISK_20, ASTERISK_22, ODD

TARGETS = [
    "alice",
    "al-ice_1.2",
    "bo;b",
    "two words",
    "host.example.org",
    "127.0.0.1:5070",
    "[2001:db8::1]:5070",
    "127.0.0.1;x=1",
    "alice/alice",
    "al@two/sip:bob@host",
    "bo;b/bob@host",
    "alice/host:5070;x",
    "alice/b/c@host",
    "alice/sip:b/c@host;x=a/b",
    "alice/Bob/1 <sip:bob@host>",
    "alice/<sip:bob@host>",
    'alice/"a: \\"b\\"" <sip:bob@host:5070;x=1>',
    "PJSIP/bob@alice",
    "PJSIP/b;ext=3?x@alice",
    "PJSIP/b%20c%40@al@two",
    "sip:host",
    "sip:bob@host:5070",
    "sip:bob:secret%3a@host",
    "sip:+49;ext=3@host",
    "sip:%C3%B6%3a%00@[::1]:1",
    "sip:bob@host;user=phone;transport=UDP;ttl=5;maddr=e;lr;x=1;y;x=%20:[];z=a%22",
    "Bob <sip:bob@host>",
    "<sip:bob@host>",
    '""<sip:bob@host>',
]

FROMS = [
    "door",
    "door@example.org",
    "a%25b%2Bc@[::1]",
    "sip:door@example.org",
    "SIP:example.org",
    "<sip:door@example.org>",
    "Door Bell <sip:door@[2001:db8::1]>",
    '"Door: \\"the\\" \\\\ <bell>" <sip:door@a_b>',
    '""<sip:door@example.org>',
    "Tür 🚪<sip:%C3%B6%20%40%3a@example.org>",
    "A; B <sip:+1;ext=3@example.org>",
]

TOS = [
    "sip:zoe@example.org",
    "pjsip:sip:zoe@example.org",
    "sip:zoe@e;user=phone",
    "sip:+1;ext=3@e;x=1;y",
    "sip:zoe:secret@[::1]",
    "SIP:zoe@e",
    "Zoe x <sip:zoe@e>",
    "pjsip:SIP:zoe@e",
    'pjsip:"Zoe" <SIP:zoe@e;user=phone>',
    "<sip:zoe@e>",
]


@pytest.mark.parametrize("target", TARGETS)
def test_target_used_as_written(target: str) -> None:
    to = f"pjsip:{target}"
    message = MessageSend(to, "x")
    message.check_server(ASTERISK_16)
    message.check_server(ASTERISK_22)
    assert (message.to, message.destination) == (to, None)
    message = MessageSend("sip:zoe@e", "x", destination=to)
    message.check_server(ASTERISK_16)
    message.check_server(ASTERISK_22)
    assert message.destination == to


@pytest.mark.parametrize("from_", FROMS)
def test_from_used_as_written(from_: str) -> None:
    message = MessageSend("pjsip:alice", "x", from_)
    assert message.from_ == from_
    message.check_server(ASTERISK_22)


@pytest.mark.parametrize("to", TOS)
def test_to_beside_destination_used_as_written(to: str) -> None:
    message = MessageSend(to, "x", destination="pjsip:alice")
    assert message.to == to
    message.check_server(ASTERISK_16)


@pytest.mark.parametrize("target", ["alice", "alice/sip:b@h", "Bob <sip:b@h>", "sip:b@h;lr"])
def test_to_may_repeat_destination(target: str) -> None:
    message = MessageSend(f"pjsip:{target}", "x", destination=f"pjsip:{target}")
    message.check_server(ASTERISK_22)


# A semicolon is cut where there is an @ only.
@pytest.mark.parametrize("from_", ["sip:d@e", None, "A;B <sip:e>", "a;b"])
def test_most_messages_suit_every_server(from_: Optional[str]) -> None:
    for banner in (ASTERISK_16, ASTERISK_20, ASTERISK_22, ODD):
        MessageSend("pjsip:alice", "x", from_).check_server(banner)
