"""What chan_sip uses as it is written; what is refused of it stands in the table of refusals.

That the rules are true is shown by the live tests; here is that they are these.
"""

from __future__ import annotations

import pytest

from amiproto import MessageSend
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
    "a<b <sip:a%25%40%3Ax@e>",
    "Door <1234>",
    "Door <ö 1%>",
    "X <sip:d@e>",
    "\u2003 <sip:d@e>",  # a blank of another kind
    "d@e X",
    "d@e\u2003",
    "n" * MAX_SIP_NAME,
    "A <sip:" + "%41" * MAX_SIP_NAME + "@e>",
    "A <sip:" + "%7E" * MAX_SIP_NAME + "@e>",
    f"{'n' * MAX_SIP_NAME}   <sip:{'u' * MAX_SIP_NAME}@e>",
]


@pytest.mark.parametrize("target", TARGETS)
def test_target_used_as_written(target: str) -> None:
    message = MessageSend(f"sip:{target}", "x", destination=f"sip:{target}")
    assert message.to == message.destination == f"sip:{target}"


@pytest.mark.parametrize("from_", FROMS)
def test_from_used_as_written(from_: str) -> None:
    assert MessageSend("sip:alice", "x", from_).from_ == from_
