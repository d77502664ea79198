"""Addresses, where all technologies are alike; ``test_sip`` and ``test_pjsip`` have their rules."""

from __future__ import annotations

import time
from typing import Any, Dict, Optional, cast

import pytest

from amiproto import AddressRefused, LocalProtocolError, MessageSend, VariableRefused
from amiproto.limits import MAX_DATAGRAM

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


def test_xmpp_makes_no_use_of_to_beside_destination() -> None:
    with pytest.raises(AddressRefused, match="xmpp makes no use of To; give the destination"):
        MessageSend("sip:zoe", "x", "xmpp:account", destination="xmpp:a@b")


@pytest.mark.parametrize(
    "argument, advice",
    [
        ("to", "To is empty; name whom"),
        ("from_", "or leave it out"),
        ("destination", "or leave it"),
    ],
)
def test_an_empty_address(argument: str, advice: str) -> None:
    with pytest.raises(AddressRefused, match=advice):
        MessageSend(**cast(Any, {"to": "other:x", argument: ""}))


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
