"""What chan_sip uses as it is written, and what is refused, with which words.

That the rules are true is shown by the live tests; here is that they are these.
"""

from __future__ import annotations

import pytest

from amiproto import AddressRefused, MessageSend
from amiproto.limits import MAX_SIP_NAME

TARGETS = [
    "alice",
    "bob@alice",
    "@alice",
    "b o:ö;x?@host:5060",
    "100%@host",
    "<sip:bob@host:5060>",
    "<SIP:bob@alice>",
    "<bob@host>",
    "ö" * 42 + "uuu@host",
]

FROMS = [
    "Door Bell",
    "Door: front",
    "Bell 12:30",
    "Door @ home",
    'a "b" \\ ;c',
    "Door; <sip:door@example.org>",
    "D <sip:+1;ext=3@example.org>",
    'Joe "Jo" Doe <sip:joe@example.org>',
    '"Jo" Doe <sip:joe@example.org>',
    '"Door: \\"the\\" <bell>"<SIP:door@example.org> ',
    "a<b <sip:a%25%40%3A%00x@e>".replace("%00", ""),
    "Door <1234>",
    "Door <ö 1%>",
    "n" * MAX_SIP_NAME,
    "A <sip:" + "%41" * MAX_SIP_NAME + "@e>",
    f"{'n' * MAX_SIP_NAME}   <sip:{'u' * MAX_SIP_NAME}@e>",
]

WRITE = "write sip:peer, sip:user@peer or sip:user@host:port, with nothing after it"
AFTER = "a name, or what stands after the bracket, would be dropped; write sip:user@host"

REFUSED_TARGETS = [
    ("alice ", WRITE),
    ("alice/bob", WRITE),
    ("a@b@alice", WRITE),
    ("bob@host;x=y", "parameters and headers would be dropped; leave them out"),
    ("bob@host?X=1", "parameters and headers would be dropped"),
    ("bob@host:05060", "the port starts with a zero, which would be dropped; leave the zero out"),
    ("<sip:bob@host:00>", AFTER),
    ("bob%20b@host", "%20 would be escaped once more; write the character itself"),
    ("%2B49@host", "%2B would be escaped once more; write +"),
    ("%C3%B6@host", "%C3 would be escaped once more; write the character itself"),
    ("Bob <sip:bob@host>", AFTER),
    ("<sip:bob@host", AFTER),
    ("<sip:bob@host>x", AFTER),
    ("sip:bob@host", "the scheme stands there twice; write sip:bob@host"),
    ("sips:bob@host", "chan_sip sends sips: as sip:; write sip:user@host:port"),
    ("<sips:bob@host>", "chan_sip sends sips: as sip:"),
    ("ö" * 43 + "@host", "the user in To has 258 bytes as chan_sip writes it"),
]

OWN_NAME = "chan_sip would put its own name in front of"
BARE = "for a display name; write 'Name <sip:user@host>'"

REFUSED_FROMS = [
    ("door@example.org", BARE),
    ("sip:door@example.org", BARE),
    ("sip:door", BARE),
    ("tel:+491234", BARE),
    ("<sip:door@example.org>", f"{OWN_NAME} '<sip:door@example.org>'; write 'Name <sip:door@"),
    ('"" <sip:door@example.org>', OWN_NAME),
    ('" <sip:door@example.org>', OWN_NAME),
    (
        "A <sip:door@e:5060>",
        "port, parameters and headers would be dropped, and chan_sip adds a port",
    ),
    ("A <sip:door@e;user=phone>", "port, parameters and headers would be dropped"),
    ("A <sip:door@[::1]>", "IPv6 would lose its brackets; write a host name"),
    ("A <sip:door@[1]>", "[1] is no IPv6 address"),
    ("A <sip:example.org>", "the address has no user and host; write 'Name <sip:user@host>'"),
    ("A <door@example.org>", "the address has no user and host"),
    ("A <>", "the address has no user and host"),
    ("A <sips:door@e>", "sips: would become sip:"),
    ("A <tel:5>", "tel: is no SIP"),
    ("A <sip:d:secret@e>", "a password would become a part of the user; leave it out"),
    ("A <sip:a%00b@e>", "%00 would come out bare, or end the address; leave it out"),
    ("A <sip:a%2Bb@e>", "%2B would come out as a bare +"),
    ("A <sip:a%zz@e>", "no two hex digits"),
    ("A <sip:ö@e>", "'ö' has to be escaped; write %C3%B6"),
    ("A <sip:d@e f>", "' ' cannot stand in a host name"),
    ("A <%2B49>", "%2B would be escaped once more; write the character itself"),
    ("A <sip:d@e", "the bracket is not closed; write 'Name <sip:user@host>'"),
    ("A <sip:d@e>x", "what stands after the bracket would be dropped; leave it out"),
    ("A\\B <sip:d@e>", "would drop backslashes or quotes from the name"),
    ('"A"B" <sip:d@e>', 'write "Name" with a backslash before each'),
    ("n" * 254 + '"', "the name in From has 256 bytes"),
    ("n" * 256 + " <sip:u@e>", "the name in From has 256 bytes"),
    ('"' + '\\"' * 128 + '" <sip:u@e>', "the name in From has 256 bytes"),
    (f"A <sip:{'u' * 256}@e>", "the user in From has 256 bytes"),
    (f"A <{'ö' * 43}>", "the user in From has 258 bytes"),
]


@pytest.mark.parametrize("target", TARGETS)
def test_target_used_as_written(target: str) -> None:
    message = MessageSend(f"sip:{target}", "x", destination=f"sip:{target}")
    assert message.to == message.destination == f"sip:{target}"


@pytest.mark.parametrize("from_", FROMS)
def test_from_used_as_written(from_: str) -> None:
    assert MessageSend("sip:alice", "x", from_).from_ == from_


@pytest.mark.parametrize("target, words", REFUSED_TARGETS)
def test_target_refused(target: str, words: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        MessageSend(f"sip:{target}", "x")
    assert words in str(caught.value) and caught.value.field == "To"


@pytest.mark.parametrize("from_, words", REFUSED_FROMS)
def test_from_refused(from_: str, words: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        MessageSend("sip:alice", "x", from_)
    assert words in str(caught.value) and caught.value.field == "From"


def test_to_beside_destination_refused() -> None:
    with pytest.raises(AddressRefused, match="sip makes no use of To; give the destination"):
        MessageSend("sip:zoe@example.org", "x", destination="sip:alice")


def test_limits_are_told() -> None:
    with pytest.raises(AddressRefused) as caught:
        MessageSend("sip:alice", "x", "n" * 300)
    assert (caught.value.field, caught.value.limit, caught.value.actual) == ("From", 255, 300)
