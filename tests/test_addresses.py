"""Addresses: what each technology uses as it is written, and what is refused, with which words.

That the rules are true is shown by the live tests; here is that they are these.
"""

from __future__ import annotations

import time
from typing import Dict, Optional

import pytest

from amiproto import AddressRefused, LocalProtocolError, MessageSend, VariableRefused
from amiproto.limits import MAX_DATAGRAM, MAX_SIP_NAME

ACCEPTED = [
    # pjsip
    ("pjsip:alice", "door", None),
    ("pjsip:alice", "door@example.org", None),
    ("pjsip:alice", "sip:door@example.org", None),
    ("pjsip:alice", "SIP:example.org", None),
    ("pjsip:alice", "<sip:door@example.org>", None),
    ("pjsip:alice", "Door Bell <sip:door@[2001:db8::1]>", None),
    ("pjsip:alice", '"Door: \\"the\\" \\\\ <bell>" <sip:door@a_b>', None),
    ("pjsip:alice", '""<sip:door@example.org>', None),
    ("pjsip:alice", "Tür 🚪<sip:%C3%B6%20%40%3a@example.org>", None),
    ("pjsip:alice/sip:bob@host;transport=udp", None, None),
    ("pjsip:PJSIP/b?b@alice", None, None),
    ("pjsip:Bob <sip:bob@host>", None, None),
    ("sip:zoe@example.org", None, "pjsip:alice"),
    ("pjsip:sip:example.org", None, "pjsip:alice"),
    ("pjsip:alice", None, "pjsip:alice"),
    # chan_sip
    ("sip:alice", "Door Bell", None),
    ("sip:alice", 'a "b" \\ ;c', None),
    ("sip:alice", "Door; <sip:door@example.org>", None),
    ("sip:alice", '"Door: \\"the\\" <bell>"<SIP:door@example.org> ', None),
    ("sip:alice", "Door <1234>", None),
    ("sip:alice", "n" * MAX_SIP_NAME, None),
    ("sip:alice", "A <sip:" + "%41" * MAX_SIP_NAME + "@e>", None),
    ("sip:alice", f"{'n' * MAX_SIP_NAME}   <sip:{'u' * MAX_SIP_NAME}@e>", None),
    ("sip:bob@alice", None, None),
    ("sip:@alice", None, None),
    ("sip:b o:ö;x?@host:5060", None, None),
    ("sip:<sip:bob@host:5060>", None, None),
    ("sip:" + "ö" * 42 + "uuu@host", None, None),
    ("sip:alice", None, "sip:alice"),
    ("Sip:alice", None, None),
    # others
    ("xmpp:bob@example.org", "xmpp:account", None),
    ("xmpp:bob@example.org", "xmpp:account", "xmpp:bob@example.org"),
    ("other:a?b ", "<sip:x:y@z:1;a=b>", None),
    ("zoe", "sip:x", "other:alice"),
]

PJSIP = "pjsip would change or drop"
SIP = "chan_sip would change or drop"
SIP_TO = "chan_sip would not send to"

REFUSED = [
    ("pjsip:alice", "<sip:door@example.org:5060>", None, PJSIP),
    ("pjsip:alice", "<sip:door@example.org;user=phone>", None, PJSIP),
    ("pjsip:alice", "<sip:door@example.org?Subject=x>", None, PJSIP),
    ("pjsip:alice", "<sip:door:password@example.org>", None, PJSIP),
    ("pjsip:alice", "<sips:door@example.org>", None, PJSIP),
    ("pjsip:alice", "tel:+491234", None, PJSIP),
    ("pjsip:alice", "Door Bell", None, PJSIP),
    ("pjsip:alice", "Door: Bell <sip:door@example.org>", None, PJSIP),
    ("pjsip:alice", 'The "Bell" <sip:door@example.org>', None, PJSIP),
    ("pjsip:alice", '"Door; Bell" <sip:door@example.org>', None, PJSIP),
    ("pjsip:alice", "<sip:door@example.org> ", None, PJSIP),
    ("pjsip:alice", "<sip:door@example.org>;tag=1", None, PJSIP),
    ("pjsip:alice", "<sip:ö@example.org>", None, PJSIP),
    ("pjsip:alice", "<sip:a%2Bb@example.org>", None, PJSIP),
    ("pjsip:alice", "<sip:a%zz@example.org>", None, PJSIP),
    ("pjsip:alice ", None, None, "To ends with a blank"),
    ("sip:x", None, "pjsip:alice ", "Destination ends with a blank"),
    ("pjsip:sip:bob@host?Subject=x", None, None, "headers behind a question mark"),
    ("pjsip:sip:host?Subject=x", None, None, "headers behind a question mark"),
    ("Zoe <sip:zoe@example.org>", None, "pjsip:alice", "only a bare URI"),
    ("sip:zoe@example.org:5060", None, "pjsip:alice", "only a bare URI"),
    ("sip:alice", "door@example.org", None, "a display name"),
    ("sip:alice", "sip:door@example.org", None, "a display name"),
    ("sip:alice", "tel:+491234", None, "a display name"),
    ("sip:alice", "<sip:door@example.org>", None, "its own name in front"),
    ("sip:alice", '"" <sip:door@example.org>', None, SIP),
    ("sip:alice", "A <sip:door@example.org:5060>", None, SIP),
    ("sip:alice", "A <sip:door@[::1]>", None, SIP),
    ("sip:alice", "A <sip:example.org>", None, SIP),
    ("sip:alice", "A <sips:door@example.org>", None, SIP),
    ("sip:alice", "A <door@example.org>", None, SIP),
    ("sip:alice", 'A "B" <sip:door@example.org>', None, SIP),
    ("sip:alice", "A\\B <sip:door@example.org>", None, SIP),
    ("sip:alice", "A <sip:a%00b@example.org>", None, SIP),
    ("sip:alice", "n" * 254 + '"', None, "256 bytes"),
    ("sip:alice", "n" * 256 + " <sip:u@e>", None, "the name in From has 256 bytes"),
    ("sip:alice", '"' + '\\"' * 128 + '" <sip:u@e>', None, "the name in From has 256 bytes"),
    ("sip:alice", f"A <sip:{'u' * 256}@e>", None, "the user in From has 256 bytes"),
    ("sip:alice", f"A <{'ö' * 43}>", None, "the user in From has 258 bytes"),
    ("sip:bob@host;x=y", None, None, SIP_TO),
    ("sip:bob%20b@host", None, None, SIP_TO),
    ("sip:Bob <sip:bob@host>", None, None, SIP_TO),
    ("sip:<sip:bob@host", None, None, SIP_TO),
    ("sip:sip:bob@host", None, None, SIP_TO),
    ("sip:sips:bob@host", None, None, SIP_TO),
    ("sip:alice ", None, None, SIP_TO),
    ("sip:" + "ö" * 43 + "@host", None, None, "the user in To has 258 bytes"),
    ("sip:zoe@example.org", None, "sip:alice", "sip makes no use of To"),
    ("sip:zoe", "xmpp:account", "xmpp:a@b", "xmpp makes no use of To"),
    ("xmpp:a@b", None, None, "an xmpp message needs a From"),
]


@pytest.mark.parametrize("to, from_, destination", ACCEPTED)
def test_used_as_written(to: str, from_: Optional[str], destination: Optional[str]) -> None:
    message = MessageSend(to, "x", from_, destination=destination)
    assert (message.to, message.from_, message.destination) == (to, from_, destination)


@pytest.mark.parametrize("to, from_, destination, words", REFUSED)
def test_refused(to: str, from_: Optional[str], destination: Optional[str], words: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        MessageSend(to, "x", from_, destination=destination)
    assert words in str(caught.value)
    assert caught.value.field in ("To", "From", "Destination")


def test_limits_are_told() -> None:
    with pytest.raises(AddressRefused) as caught:
        MessageSend("sip:alice", "x", "n" * 300)
    assert (caught.value.field, caught.value.limit, caught.value.actual) == ("From", 255, 300)


@pytest.mark.parametrize("technology", ["sip", "pjsip"])
@pytest.mark.parametrize("start", ["a", '"', '"a" ', '"' + "\\\\" * 99, "<", "<sip:", "a@", "%41"])
@pytest.mark.parametrize("filler", [" ", "a", '"', "\\", "%41", "<", "a ", "@", ":"])
def test_long_ones_are_told_in_no_time(technology: str, start: str, filler: str) -> None:
    text = start + filler * (200_000 // len(filler))
    before = time.process_time()
    for to, from_ in (("alice", text + "<"), ("alice", text), (text, None)):
        with pytest.raises(LocalProtocolError):
            MessageSend(f"{technology}:{to}", "x", from_)
    assert time.process_time() - before < 5.0


# ---- what the same live tests found about variables ----


@pytest.mark.parametrize("name", ["f", "T", "v", "i", "m", "l", "C"])
def test_compact_names(name: str) -> None:
    for technology in ("sip", "pjsip"):
        with pytest.raises(VariableRefused, match="is the short form of"):
            MessageSend(f"{technology}:alice", "x", variables={name: "1"})
    assert MessageSend("other:alice", "x", variables={name: "1"}).variables == ((name, "1"),)


def test_user_agent() -> None:
    variables = {"User-Agent": "Door/1"}
    with pytest.raises(VariableRefused, match="would get two"):
        MessageSend("sip:alice", "x", variables=variables)
    assert MessageSend("pjsip:alice", "x", variables=variables).variables


def test_content_type_takes_no_place_in_chan_sip() -> None:
    variables: Dict[str, str] = {f"X-{number}": "1" for number in range(53)}
    message = MessageSend("sip:alice", "x", variables={**variables, "Content-Type": "a/b"})
    assert len(message.variables) == 54
    with pytest.raises(VariableRefused, match="54 variables") as caught:
        MessageSend("sip:alice", "x", variables={**variables, "X": "1", "Content-Type": "a/b"})
    assert (caught.value.limit, caught.value.actual) == (53, 54)


def test_a_message_fits_a_datagram() -> None:
    variables = {f"X-{number:02}": "v" * 1000 for number in range(63)}
    MessageSend("pjsip:alice", "x" * 800, variables=variables)
    with pytest.raises(VariableRefused, match="datagram") as caught:
        MessageSend("pjsip:alice", "x" * 1000, variables=variables)
    assert caught.value.limit == MAX_DATAGRAM < (caught.value.actual or 0)
    # Backslashes are for AMI alone, and take no room in the datagram.
    MessageSend("pjsip:alice", variables={f"X-{n}": "," * 500 for n in range(100)})
    MessageSend("other:alice", "x" * 1000, variables=variables)
