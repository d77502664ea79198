"""Addresses that are used as written; the table of refusals has those that are rejected.

The live tests show that the rules are right; these show what the rules are.
"""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amiproto import Banner, MessageSend
from amiproto.limits import MAX_SIP_NAME
from amiproto.messaging import pjsip
from tests.refusals import (
    ASTERISK_11,
    ASTERISK_16,
    ASTERISK_18,
    ASTERISK_20,
    ASTERISK_22,
    ASTERISK_23,
    BANNERS,
    ODD,
)

PJSIP_TARGETS = [
    "alice", "al-ice_1.2", "bo;b", "two words", "host.example.org", "127.0.0.1:5070",
    "[2001:db8::1]:5070", "127.0.0.1;x=1", "alice/alice", "al@two/sip:bob@host", "bo;b/bob@host",
    "alice/host:5070;x", "alice/b/c@host", "alice/sip:b/c@host;x=a/b", "alice/Bob/1 <sip:bob@host>",
    "alice/<sip:bob@host>", 'alice/"a: \\"b\\"" <sip:bob@host:5070;x=1>', "PJSIP/bob@alice",
    "PJSIP/b;ext=3?x@alice", "PJSIP/b%20c%40@al@two", "sip:host", "sip:bob@host:5070",
    "100", "100/100", "100/101", "+49/+49", "alice/100a", "sip:bob@host:65535", "sip:bob@host:1",
    "sip:bob@host;transport=tcp", "alice/<sip:bob@host;transport=TLS;x>", "sip:host;transport=ws",
    "host;transport=wss", "alice/host;user=phone;transport=Tcp;ttl=1",
    "sip:bob:secret%3a@host", "sip:+49;ext=3@host", "sip:%C3%B6%3a%00@[::1]:1",
    "sip:bob@host;user=phone;transport=UDP;ttl=5;maddr=e;lr;x=1;y;x=%20:[];z=a%22",
    "Bob <sip:bob@host>", "<sip:bob@host>", '""<sip:bob@host>',
]  # fmt: skip
PJSIP_FROMS = [
    "door", "door@example.org", "a%25b%2Bc@[::1]", "sip:door@example.org", "SIP:example.org",
    "<sip:door@example.org>", "Door Bell <sip:door@[2001:db8::1]>",
    '"Door: \\"the\\" \\\\ <bell>" <sip:door@a_b>', '""<sip:door@example.org>',
    "Tür 🚪<sip:%C3%B6%20%40%3a@example.org>", "Bell <sip:door@[fe80::1%eth0]>",
    "sip:[fe80::1%25en0]", "a@[fe80::1%en0.1]", "a@[::1]:5060",
]  # fmt: skip
#: With another Destination.
PJSIP_TOS = [
    "sip:zoe@example.org", "pjsip:sip:zoe@example.org", "sip:zoe@e;user=phone",
    "sip:+1;ext=3@e;x=1;y", "sip:zoe:secret@[::1]", "SIP:zoe@e", "Zoe x <sip:zoe@e>",
    "pjsip:SIP:zoe@e", 'pjsip:"Zoe" <SIP:zoe@e;user=phone>', "<sip:zoe@e>",
    "sip:zoe@[fe80::1%en0]",
]  # fmt: skip

SIP_TARGETS = [
    "alice", "bob@alice", "b o:ö;x?@host:5060", "100%@host", "<sip:bob@host:5060>", "<host>",
    "bob@[::1]:5060", "[127.0.0.1]", "bob@host:1", "<bob@host:65535>", "<SIP:bob@alice>",
    "<bob@host>", "ö" * 42 + "uuu@host",
]  # fmt: skip
SIP_FROMS = [
    "Door Bell", "Door: front", "Bell 12:30", "Door @ home", 'a "b" \\ ;c',
    "Door; <sip:door@example.org>", "D <sip:+1;ext=3@example.org>",
    'Joe "Jo" Doe <sip:joe@example.org>', '"Jo" Doe <sip:joe@example.org>',
    '"Door: \\"the\\" <bell>"<SIP:door@example.org> ', "a<b <sip:a%25%40%3Ax@e>", "Door <1234>",
    "Door <ö 1%>", "X <sip:d@e>", "\u2003 <sip:d@e>", "d@e X", "d@e\u2003", "n" * MAX_SIP_NAME,
    "A <sip:" + "%41" * MAX_SIP_NAME + "@e>", "A <sip:" + "%7E" * MAX_SIP_NAME + "@e>",
    f"{'n' * MAX_SIP_NAME}   <sip:{'u' * MAX_SIP_NAME}@e>",
]  # fmt: skip

#: To, From, Destination, and servers that accept them.
VALID: List[Tuple[str, Optional[str], Optional[str], Tuple[Banner, ...]]] = [
    *((f"pjsip:{target}", None, None, (ASTERISK_16, ASTERISK_22)) for target in PJSIP_TARGETS),
    *(("sip:zoe@e", None, f"pjsip:{target}", (ASTERISK_16, ASTERISK_22))
      for target in PJSIP_TARGETS),
    # Destination can equal To, also where it is ignored.
    *((f"pjsip:{target}", None, f"pjsip:{target}", BANNERS) for target in PJSIP_TARGETS
      if "/" not in target or "<" not in target),
    *(("pjsip:alice", from_, None, BANNERS) for from_ in PJSIP_FROMS),
    # A From is cut at its semicolon only if there is an @.
    *(("pjsip:alice", from_, None, BANNERS) for from_ in ("sip:d@e", None, "A;B <sip:e>", "a;b")),
    ("pjsip:alice", "A; B <sip:+1;ext=3@example.org>", None, (ASTERISK_23,)),
    *((to, None, "pjsip:alice", (ASTERISK_16, ASTERISK_18)) for to in PJSIP_TOS),
    *((to, None, "pjsip:alice", (ASTERISK_16, ASTERISK_20, ASTERISK_22, ODD))
      for to in PJSIP_TOS if to.replace("pjsip:", "").startswith("sip:")),
    *((f"sip:{target}", None, f"sip:{target}", (ASTERISK_11,)) for target in SIP_TARGETS),
    *(("sip:alice", from_, None, ()) for from_ in SIP_FROMS),
    ("xmpp:bob@example.org", "xmpp:account", None, ()),
    ("xmpp:bob@example.org", "xmpp:account", "xmpp:bob@example.org", ()),
    ("other:a?b ", "<sip:x:y@z:1;a=b>", None, ()),
    ("zoe", "sip:x", "other:alice", ()),
]  # fmt: skip


@pytest.mark.parametrize("to, from_, destination, banners", VALID)
def test_valid_addresses_are_used_as_written(
    to: str, from_: Optional[str], destination: Optional[str], banners: Tuple[Banner, ...]
) -> None:
    message = MessageSend(to, "x", from_, destination=destination)
    assert (message.to, message.from_, message.destination) == (to, from_, destination)
    for banner in banners:
        message.check_server(banner)


@pytest.mark.parametrize(
    "to, from_, destination",
    [
        ("sip:alice", "  Door <sip:door@e>", None), ("pjsip:alice", " Door <sip:door@e>", None),
        ("pjsip:alice", "  sip:door@e", None), ("pjsip:alice", " door", None),
        (" sip:zoe@e", None, "pjsip:alice"), ("  Zoe <sip:zoe@e>", " sip:door@e", "pjsip:alice"),
        ("sip:alice", " Door <1234>", "sip:alice"),
    ],
)  # fmt: skip
def test_leading_spaces_of_an_address_are_not_sent(
    to: str, from_: Optional[str], destination: Optional[str]
) -> None:
    # The server would strip them.
    message = MessageSend(to, "x", from_, destination=destination)
    expected = (to.lstrip(" "), from_ and from_.lstrip(" "), destination)
    assert (message.to, message.from_, message.destination) == expected
    assert f"\r\nTo: {expected[0]}\r\n".encode() in message.wire
    assert not from_ or f"\r\nFrom: {expected[1]}\r\n".encode() in message.wire


@pytest.mark.parametrize(
    ("usual", "full"),
    [
        (pjsip._PLAIN_NAME, pjsip._TARGET_WITHOUT_ENDPOINT),
        (pjsip._PLAIN_FROM, pjsip._FROM),
    ],
)
@settings(max_examples=1000)
@given(data=st.data())
def test_pattern_for_usual_addresses_accepts_no_others(
    usual: "re.Pattern[str]", full: str, data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(usual, fullmatch=True))
    assert re.fullmatch(full, text)
