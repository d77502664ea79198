"""The recipe for receiving: two phones exchange messages through dialplan and a listener."""

from __future__ import annotations

import socket
import threading
from typing import Dict, Iterator, List, Tuple

import pytest

from amiclient import Client, Event
from tests.examples.receiving import incoming
from tests.live.phone import SipPhone
from tests.live.servers import Live
from tests.live.test_client_live import client_of
from tests.readme import ROOT

PHONES = ("ann", "ben")

#: Texts that a naive recipe would lose, evaluate, or take for header lines.
TEXTS = (
    "plain",
    "a, comma, and, more",
    "'single' \"double\" `back` and \\ back\\\\slashes \\n",
    "two\nlines",
    "CR LF\r\nand\r\n\r\nblank lines\n\n.",
    "line ends behind\r\n\n",
    "x\r\n\r\nResponse: Success\r\nMessage: Message successfully sent\r\n\r\n",
    "x\r\nEvent: UserEvent\r\nUserEvent: MessageIn\r\nBody64: Zm9yZ2Vk\r\n\r\n",
    "${EXTEN} $[1+1] ${SHELL(id)} %0a ; | & ) ( ] [ } {",
    "  blanks around  ",
    "Grüße, 世界 👋🏽",
    "long, " * 120,
)


#: The file and the text that configure a phone, and what Asterisk makes of CR LF in a message.
PHONE = {
    "pjsip": (
        "pjsip.conf",
        """
[{name}]
type = endpoint
transport = udp
context = phones
message_context = messages
disallow = all
allow = ulaw
aors = {name}

[{name}]
type = aor
contact = sip:{name}@127.0.0.1:{port}
""",
        "\r\n",
    ),
    "sip": (
        "sip.conf",
        """
[general](+)
outofcall_message_context = messages

[{name}]
type = peer
host = 127.0.0.1
port = {port}
""",
        "\n",
    ),
}


@pytest.fixture
def phones() -> Iterator[Dict[str, SipPhone]]:
    with SipPhone() as one, SipPhone() as other:
        yield dict(zip(PHONES, (one, other)))


def send_from_phone(port: int, sender: str, to: str, text: str, number: int) -> None:
    """Send a MESSAGE as a phone does to a port, and wait until the server has accepted it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10.0)
        here = f"127.0.0.1:{sock.getsockname()[1]}"
        body = text.encode()
        head = [
            f"MESSAGE sip:{to}@127.0.0.1:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{sender}{number}",
            "Max-Forwards: 70",
            f'From: "{sender.title()}, the first" <sip:{sender}@127.0.0.1>;tag={number}',
            f"To: <sip:{to}@127.0.0.1>",
            f"Call-ID: {sender}-{number}@127.0.0.1",
            f"CSeq: {number + 1} MESSAGE",
            f"Contact: <sip:{sender}@{here}>",
            "Content-Type: text/plain",
            f"Content-Length: {len(body)}",
        ]
        sock.sendto("\r\n".join([*head, "", ""]).encode() + body, ("127.0.0.1", port))
        response = sock.recv(65536)
        assert response.startswith(b"SIP/2.0 2"), response


def test_two_phones_exchange_messages(
    live: Live, technology: str, phones: Dict[str, SipPhone]
) -> None:
    file, config, line_end = PHONE[technology]
    extra = {
        "modules.conf": "load = func_base64.so\n",
        file: "".join(config.format(name=name, port=phones[name].port) for name in PHONES),
        "manager.conf": "\n[listener]\nsecret = listen\nread = user\nwrite =\n",
        "extensions.conf": "\n" + (ROOT / "tests/examples/receiving.conf").read_text(),
    }
    received: List[Tuple[str, str, str]] = []
    with live.another_server(extra) as server:
        port = getattr(server.ports, technology)
        with Client(
            port=server.port, username="listener", secret="listen", events="user"
        ) as listener, client_of(server) as sender:

            def relay() -> None:
                for from_, to, text in incoming(listener):
                    received.append((from_, to, text))
                    name = next(name for name in PHONES if name in to)
                    sender.send_message(f"{technology}:{name}", text, "Relay <sip:relay@127.0.0.1>")
                    if len(received) == 2 * len(TEXTS):
                        return

            thread = threading.Thread(target=relay, daemon=True)
            thread.start()
            number = 0
            for text in TEXTS:
                for name, other in (PHONES, PHONES[::-1]):
                    send_from_phone(port, name, other, text, number)
                    number += 1
                    (message,) = phones[other].wait_for(1)
                    # Asterisk strips line ends from the end of a received body (16.28, 22.10).
                    text = text.rstrip("\r\n").replace("\r\n", line_end)
                    assert message.body == text.encode()
                    from_, to, received_text = received[-1]
                    assert received_text == text and f"sip:{name}@" in from_ and other in to
            thread.join(10.0)
            assert not thread.is_alive()
            # No text has forged an event.
            rest = [event for event in listener.events(timeout=0.5) if isinstance(event, Event)]
            assert rest == [] and len(received) == 2 * len(TEXTS)
    for phone in phones.values():
        assert phone.drain() == []
