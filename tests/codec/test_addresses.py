"""Addresses that are used as written; the table of refusals has those that are rejected.

The live tests show that the rules are right; these show what the rules are.
"""

from __future__ import annotations

import time
from typing import List, Optional, Tuple

import pytest

from amiproto import Banner, LocalProtocolError, MessageSend
from amiproto.limits import MAX_SIP_NAME
from tests.refusals import ASTERISK_16, ASTERISK_20, ASTERISK_22, ODD

PJSIP_TARGETS = [
    "alice", "al-ice_1.2", "bo;b", "two words", "host.example.org", "127.0.0.1:5070",
    "[2001:db8::1]:5070", "127.0.0.1;x=1", "alice/alice", "al@two/sip:bob@host", "bo;b/bob@host",
    "alice/host:5070;x", "alice/b/c@host", "alice/sip:b/c@host;x=a/b", "alice/Bob/1 <sip:bob@host>",
    "alice/<sip:bob@host>", 'alice/"a: \\"b\\"" <sip:bob@host:5070;x=1>', "PJSIP/bob@alice",
    "PJSIP/b;ext=3?x@alice", "PJSIP/b%20c%40@al@two", "sip:host", "sip:bob@host:5070",
    "sip:bob:secret%3a@host", "sip:+49;ext=3@host", "sip:%C3%B6%3a%00@[::1]:1",
    "sip:bob@host;user=phone;transport=UDP;ttl=5;maddr=e;lr;x=1;y;x=%20:[];z=a%22",
    "Bob <sip:bob@host>", "<sip:bob@host>", '""<sip:bob@host>',
]  # fmt: skip
PJSIP_FROMS = [
    "door", "door@example.org", "a%25b%2Bc@[::1]", "sip:door@example.org", "SIP:example.org",
    "<sip:door@example.org>", "Door Bell <sip:door@[2001:db8::1]>",
    '"Door: \\"the\\" \\\\ <bell>" <sip:door@a_b>', '""<sip:door@example.org>',
    "Tür 🚪<sip:%C3%B6%20%40%3a@example.org>", "A; B <sip:+1;ext=3@example.org>",
]  # fmt: skip
#: With another Destination.
PJSIP_TOS = [
    "sip:zoe@example.org", "pjsip:sip:zoe@example.org", "sip:zoe@e;user=phone",
    "sip:+1;ext=3@e;x=1;y", "sip:zoe:secret@[::1]", "SIP:zoe@e", "Zoe x <sip:zoe@e>",
    "pjsip:SIP:zoe@e", 'pjsip:"Zoe" <SIP:zoe@e;user=phone>', "<sip:zoe@e>",
]  # fmt: skip

SIP_TARGETS = [
    "alice", "bob@alice", "@alice", "b o:ö;x?@host:5060", "100%@host", "<sip:bob@host:5060>",
    "<SIP:bob@alice>", "<bob@host>", "ö" * 42 + "uuu@host",
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
    *((f"pjsip:{target}", None, f"pjsip:{target}", (ASTERISK_22,)) for target in PJSIP_TARGETS),
    *(("pjsip:alice", from_, None, (ASTERISK_22,)) for from_ in PJSIP_FROMS),
    # A From is cut at its semicolon only if there is an @.
    *(("pjsip:alice", from_, None, (ASTERISK_16, ASTERISK_20, ASTERISK_22, ODD))
      for from_ in ("sip:d@e", None, "A;B <sip:e>", "a;b")),
    *((to, None, "pjsip:alice", (ASTERISK_16,)) for to in PJSIP_TOS),
    *((f"sip:{target}", None, f"sip:{target}", ()) for target in SIP_TARGETS),
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


@pytest.mark.parametrize("technology", ["sip", "pjsip"])
@pytest.mark.parametrize("start", ["a", '"', '"a" ', '"' + "\\\\" * 99, "<", "<sip:", "a@", "%41"])
@pytest.mark.parametrize(
    "filler", [" ", "a", '"', "\\", "%41", "<", ">", "a ", "@", ":", ";x=", "[", "<a>"]
)
def test_long_addresses_are_rejected_in_linear_time(
    technology: str, start: str, filler: str
) -> None:
    text = start + filler * (15_000 // len(filler))
    before = time.process_time()
    for to, from_ in (("alice", text + "<"), ("alice", text), (text, None), ("a/" + text, None)):
        with pytest.raises(LocalProtocolError):
            MessageSend(f"{technology}:{to}", "x", from_)
    with pytest.raises(LocalProtocolError):
        MessageSend(text, "x", destination=f"{technology}:alice")
    assert time.process_time() - before < 0.5
