"""Addresses, where all technologies are alike; ``test_sip`` and ``test_pjsip`` have their rules."""

from __future__ import annotations

import time
from typing import Optional

import pytest

from amiproto import LocalProtocolError, MessageSend

OTHERS = [
    ("xmpp:bob@example.org", "xmpp:account", None),
    ("xmpp:bob@example.org", "xmpp:account", "xmpp:bob@example.org"),
    ("other:a?b ", "<sip:x:y@z:1;a=b>", None),
    ("zoe", "sip:x", "other:alice"),
]


@pytest.mark.parametrize("to, from_, destination", OTHERS)
def test_used_as_written(to: str, from_: Optional[str], destination: Optional[str]) -> None:
    message = MessageSend(to, "x", from_, destination=destination)
    assert (message.to, message.from_, message.destination) == (to, from_, destination)


@pytest.mark.parametrize("technology", ["sip", "pjsip"])
@pytest.mark.parametrize("start", ["a", '"', '"a" ', '"' + "\\\\" * 99, "<", "<sip:", "a@", "%41"])
@pytest.mark.parametrize(
    "filler", [" ", "a", '"', "\\", "%41", "<", "a ", "@", ":", ";x=", "[", "<a>"]
)
def test_long_ones_are_told_in_no_time(technology: str, start: str, filler: str) -> None:
    text = start + filler * (200_000 // len(filler))
    before = time.process_time()
    for to, from_ in (("alice", text + "<"), ("alice", text), (text, None), ("a/" + text, None)):
        with pytest.raises(LocalProtocolError):
            MessageSend(f"{technology}:{to}", "x", from_)
    with pytest.raises(LocalProtocolError):
        MessageSend(text, "x", destination=f"{technology}:alice")
    assert time.process_time() - before < 2.0
