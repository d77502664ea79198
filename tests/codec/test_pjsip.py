"""What pjsip uses as it is written, and what is refused, with which words.

That the rules are true is shown by the live tests; here is that they are these.
"""

from __future__ import annotations

from typing import Optional

import pytest

from amiproto import AddressRefused, Banner, MessageSend

ASTERISK_16 = Banner("5.0.4")
ASTERISK_20 = Banner("9.0.0")
ASTERISK_22 = Banner("11.0.0")
ODD = Banner("odd")

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
    "Zoe: x <sip:zoe@e>".replace(":", "", 1),
    'pjsip:"Zoe" <SIP:zoe@e;user=phone>',
    "<sip:zoe@e>",
]

WRITE = "write pjsip:endpoint, pjsip:endpoint/sip:user@host or pjsip:sip:user@host"
ORDER = "user, transport, ttl, maddr, lr in this order"
BEFORE_AT = "in front of the @ would be looked for as an endpoint"

REFUSED_TARGETS = [
    ("alice ", "ends with a blank, which would be a part of the name; remove it"),
    ("a:b", WRITE),
    ("/sip:bob@host", WRITE),
    ("alice/", WRITE),
    ("alice/ sip:bob@host", "a blank stands in front of the address; remove it"),
    ("sip:@host", WRITE),
    ("alice@example.org", f"{BEFORE_AT}, and the rest dropped; write pjsip:sip:alice@example.org"),
    ("alice@", BEFORE_AT),
    ("@alice", BEFORE_AT),
    ("sip:b/c@host", "in front of the slash an endpoint is looked for; write pjsip:endpoint/sip:"),
    ("SIP:bob@host", "in capitals would be read as a user; write sip: in small letters"),
    ("alice/Sip:bob@host", "in capitals would be read as a user"),
    ("<SIP:bob@host>", "in capitals would be read as a user"),
    ("sips:bob@host", "sips: would become sip:, or nothing would be sent; write sip:"),
    ("alice/tel:+5", "tel: is no SIP; write sip:number@host"),
    ("sip:bob@host?Subject=x", "headers after the question mark"),
    ("sip:host?Subject=x", "headers after the question mark"),
    ("alice?x=1", "headers after the question mark"),
    ("sip:a%3Bb@host", "%3B would come out as a bare ;, which is another address; write ; where"),
    ("alice/sip:a%2bb@host", "%2b would come out as a bare +"),
    ("sip:a%2541@host", "%25 would come out bare, or end the address; leave it out"),
    ("PJSIP/a%25b@alice", "PJSIP/ needs a user and an endpoint; write PJSIP/user@endpoint"),
    ("PJSIP/a:b@alice", "the user without colon or slash"),
    ("PJSIP/alice", "PJSIP/ needs a user"),
    ("PJSIP/bob@alice ", "ends with a blank"),
    ("sip:a%zz@host", "a percent sign has no two hex digits after it; leave it out"),
    ("sip:a#b@host", "'#' has to be escaped; write %23"),
    ("sip:ö@host", "'ö' has to be escaped; write %C3%B6"),
    ("sip:a@[1.2.3.4]", "[1.2.3.4] is no IPv6 address, which has colons; leave the brackets out"),
    ("sip:a%22%3A@[1]", "[1] is no IPv6 address"),
    ("[.]", "[.] is no IPv6 address"),
    ("sip:a@ho st", "' ' cannot stand in a host name; leave it out"),
    ("sip:a@host:05060", "the port starts with a zero, which would be dropped; leave the zero out"),
    ("sip:a@host;transport=tcp", "would be lost with Success; leave it out"),
    ("sip:a@host;method=INVITE", ORDER),
    ("sip:a@host;x=", ORDER),
    ("sip:a@host;x=1;user=phone", ORDER),
    ("sip:a@host;lr=on", ORDER),
    ("sip:a@host;LR", ORDER),
    ("sip:a@host;transport=udp;transport=udp", ORDER),
    ('sip:a@host;x="a b"', ORDER),
    ("sip:a@host;user=a%20b", ORDER),
    ("sip:a@host;x=%5B", "%5B would come out bare"),
    ("sip:a@host;x=%22", "%22 would come out bare"),
    ("<sip:bob@host>;x=1", "what stands after the bracket would be dropped; leave it out"),
    ("alice/Bob <sip:bob@host", "the bracket is not closed; write 'Name <sip:user@host>'"),
]

REFUSED_FROMS = [
    ("Door Bell", "it is no address; write 'Door Bell <sip:user@host>'"),
    ("Door: Bell <sip:door@e>", "the name has a quote, backslash or colon; write it in quotes"),
    ('The "Bell" <sip:door@e>', "the name has a quote"),
    ("back\\slash <sip:door@e>", "the name has a quote, backslash"),
    ("<sip:door@e:5060>", "a port would be dropped; leave it out"),
    ("sip:e:5060", "a port would be dropped; leave it out"),
    ("<sip:door@e;user=phone>", "parameters and headers would be dropped; leave them out"),
    ("<sip:door@e?Subject=x>", "parameters and headers would be dropped"),
    ("<sip:door:secret@e>", "a password would be dropped; leave it out"),
    ("sips:door@e", "sips: would become sip:"),
    ("tel:+49", "tel: is no SIP"),
    ("<sip:door@e> ", "what stands after the bracket"),
    ("<sip:door@e>;tag=1", "what stands after the bracket"),
    ("Door <sip:door@e", "the bracket is not closed"),
    ("<sip:ö@e>", "'ö' has to be escaped; write %C3%B6"),
    ("sip:a%2Bb@e", "%2B would come out as a bare +, which is another address; write + where"),
    ("sip:100%25@e", "%25 would come out bare"),
    ("a%zz@e", "a percent sign has no two hex digits"),
    ("d@[1]", "is no IPv6 address"),
    ("d@e:5060", "write sip:user@host or 'Name <sip:user@host>', with nothing after it"),
    ("sip:@e", "write sip:user@host or"),
]

REFUSED_TOS = [
    ("zoe", "it takes a URI without port, transport or headers; write sip:user@host"),
    ("pjsip:bob", "it takes a URI"),
    ("sip:zoe@e:5060", "it takes a URI without port"),
    ("sip:zoe@e;transport=udp", "it takes a URI without port"),
    ("sip:zoe@e;lr", "it takes a URI without port"),
    ("sip:zoe@e;x=1;user=phone", "it takes a URI"),
    ("sips:zoe@e", "sips: would become sip:"),
    ("sip:100%25@e", "%25 would come out bare"),
    ("Zoe <sip:zoe@e>;x=1", "what stands after the bracket"),
    ("sip:z@[1]", "is no IPv6 address"),
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


@pytest.mark.parametrize("target, words", REFUSED_TARGETS)
def test_target_refused(target: str, words: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        MessageSend(f"pjsip:{target}", "x")
    assert words in str(caught.value) and caught.value.field == "To"
    with pytest.raises(AddressRefused) as caught:
        MessageSend("sip:zoe@e", "x", destination=f"pjsip:{target}")
    assert words in str(caught.value) and caught.value.field == "Destination"


@pytest.mark.parametrize("from_, words", REFUSED_FROMS)
def test_from_refused(from_: str, words: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        MessageSend("pjsip:alice", "x", from_)
    assert words in str(caught.value) and caught.value.field == "From"
    assert repr(from_) in str(caught.value)


@pytest.mark.parametrize("to, words", REFUSED_TOS)
def test_to_beside_destination_refused(to: str, words: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        MessageSend(to, "x", destination="pjsip:alice")
    assert words in str(caught.value) and caught.value.field == "To"


@pytest.mark.parametrize("target", ["alice", "alice/sip:b@h", "Bob <sip:b@h>", "sip:b@h;lr"])
def test_to_may_repeat_destination(target: str) -> None:
    message = MessageSend(f"pjsip:{target}", "x", destination=f"pjsip:{target}")
    message.check_server(ASTERISK_22)


def test_an_endpoint_would_become_a_part_of_the_name() -> None:
    for target in ("pjsip:alice/Bob <sip:b@h>", "pjsip:alice/<sip:b@h>"):
        MessageSend(target, "x")
        message = MessageSend(target, "x", destination=target, action_id="7")
        message.check_server(ASTERISK_22)
        for banner in (ASTERISK_16, ASTERISK_20, ODD):
            with pytest.raises(AddressRefused, match="leave the Destination out") as caught:
                message.check_server(banner)
            assert (caught.value.field, caught.value.action_id) == ("To", "7")


@pytest.mark.parametrize(
    "from_, cut",
    [
        ("sip:a;b@e", True),
        ("A;B <sip:d@e>", True),
        ('"A;B" <sip:d@e>', True),
        ("a;b@e", True),
        ("A;B <sip:e>", False),  # it is cut where there is an @ only
        ("a;b", False),
        ("sip:a@e", False),
    ],
)
def test_a_semicolon_in_from_depends_on_the_server(from_: str, cut: bool) -> None:
    message = MessageSend("pjsip:alice", "x", from_, action_id="7")
    message.check_server(ASTERISK_22)
    for banner in (ASTERISK_16, ASTERISK_20, ODD):
        if not cut:
            message.check_server(banner)
            continue
        with pytest.raises(AddressRefused, match="at its semicolon; leave it out") as caught:
            message.check_server(banner)
        assert (caught.value.field, caught.value.action_id) == ("From", "7")


@pytest.mark.parametrize("to", ["SIP:zoe@e", "Zoe <sip:zoe@e>", "<sip:zoe@e>", "pjsip:SIP:zoe@e"])
def test_a_name_in_to_depends_on_the_server(to: str) -> None:
    message = MessageSend(to, "x", destination="pjsip:alice", action_id="7")
    message.check_server(ASTERISK_16)
    for banner in (ASTERISK_20, ASTERISK_22):
        with pytest.raises(AddressRefused, match="makes no use of .*; write sip:") as caught:
            message.check_server(banner)
        assert (caught.value.field, caught.value.action_id) == ("To", "7")


@pytest.mark.parametrize("message", [("pjsip:alice", "x", "sip:d@e"), ("pjsip:alice", "x", None)])
def test_most_messages_suit_every_server(message: "tuple[str, str, Optional[str]]") -> None:
    for banner in (ASTERISK_16, ASTERISK_20, ASTERISK_22, ODD):
        MessageSend(*message).check_server(banner)
