"""The loopback server: what users' own tests lean on."""

from __future__ import annotations

import os
import pickle
import runpy
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Iterable, List

import pytest

from amiclient import (
    Action,
    ActionFailed,
    Client,
    ConnectionLost,
    Event,
    LoginFailed,
    Response,
    ResponseTimeout,
)
from amiclient.loopback import SECRET, USERNAME, Delay, Disconnect, LoopbackServer, Received
from amiclient.loopback import __main__ as program
from amiclient.loopback import no_response, refuse
from amiproto import Message
from tests.certificates import SERVER_PEM, server_tls
from tests.command.shell import Screen
from tests.faults import client_of, count_open_fds, opened, start_thread

if TYPE_CHECKING:
    from amiclient.loopback.script import HandlerResult


def _talk(server: LoopbackServer, *parts: bytes, expect: int) -> List[bytes]:
    """What the server answers to raw bytes: so many stanzas, without the banner."""
    with socket.create_connection((server.host, server.port), 5.0) as sock:
        for part in parts:
            sock.sendall(part)
        data = b""
        while data.count(b"\r\n\r\n") < expect:
            more = sock.recv(65536)
            if not more:
                break
            data += more
    banner, _, rest = data.partition(b"\r\n")
    assert banner == b"Asterisk Call Manager/11.0.0"
    return rest.split(b"\r\n\r\n")[:-1]


_LOGIN = b"Action: Login\r\nUsername: loopback\r\nSecret: loopback\r\n\r\n"


def test_it_opens_and_closes_again_and_again() -> None:
    before = count_open_fds()
    server = LoopbackServer()
    server.close()
    ports = set()
    for number in range(3):
        with server as same:
            assert same is server and server.port and server.host == "127.0.0.1"
            with client_of(server.port) as client:
                client.send_message("sip:a", str(number))
        ports.add(server.port)
    assert len(ports) == 1  # as a client that connects again would want it
    assert [message.text for message in server.messages] == ["0", "1", "2"]
    assert count_open_fds() == before


def test_it_closes_with_clients_still_there() -> None:
    with LoopbackServer() as server:
        clients = [client_of(server.port) for _ in range(5)]
        for client in clients:
            client.connect()
        silent = socket.create_connection((server.host, server.port))
    for client in clients:
        client.close()
    silent.close()


def test_it_closes_while_a_client_does_not_speak_tls() -> None:
    with LoopbackServer(tls=server_tls()) as server:
        silent = socket.create_connection((server.host, server.port))
        time.sleep(0.05)
        start = time.monotonic()
    assert time.monotonic() - start < 5.0
    silent.close()


def test_it_closes_while_clients_come() -> None:
    for _ in range(5):
        with LoopbackServer() as server:
            port = server.port
            stop = threading.Event()

            def come() -> None:
                while not stop.is_set():
                    try:
                        socket.create_connection(("127.0.0.1", port), 0.2).close()
                    except OSError:
                        pass

            thread = start_thread(come)
            time.sleep(0.005)
        stop.set()
        thread.join()
        assert server._peers == set() and server._threads == []


def test_a_connection_that_came_before_the_end_is_not_served() -> None:
    with LoopbackServer() as server:
        server._closing.set()
        with socket.create_connection((server.host, server.port), 5.0) as sock:
            assert sock.recv(1) == b""


def test_users_of_one_s_own() -> None:
    with LoopbackServer(users={"Ann": "s", "bob": "t"}) as server:
        for name, secret in (("Ann", "s"), ("bob", "t"), ("BOB", "t")):
            with Client(port=server.port, username=name, secret=secret) as client:
                client.ping()
        for name, secret in (("Ann", "t"), ("eve", "s"), (USERNAME, SECRET)):
            for mechanism in ("md5", "plain"):
                with pytest.raises(LoginFailed):
                    Client(
                        port=server.port, username=name, secret=secret, mechanism=mechanism
                    ).connect()


def test_technologies_of_one_s_own() -> None:
    with LoopbackServer(technologies=["fax"]) as server:
        with client_of(server.port) as client:
            client.send_message("fax:a", "b")
            with pytest.raises(ActionFailed, match="technology"):
                client.send_message("sip:a", "b")


def test_it_keeps_the_newest() -> None:
    with LoopbackServer(keep=2) as server, client_of(server.port) as client:
        for number in range(5):
            client.send_message("sip:a", str(number))
        assert [message.text for message in server.messages] == ["3", "4"]
    with LoopbackServer(keep=0) as server, client_of(server.port) as client:
        client.send_message("sip:a", "b")
        assert server.messages == []


def test_tls() -> None:
    with LoopbackServer(tls=server_tls()) as server:
        with client_of(server.port, tls=SERVER_PEM) as client:
            client.send_message("sip:a", "b")
            with socket.create_connection((server.host, server.port)) as sock:
                sock.sendall(b"Action: Ping\r\n\r\n")  # no TLS
                sock.settimeout(5.0)
                try:
                    while sock.recv(1000):
                        pass
                except ConnectionResetError:
                    pass
            client.ping()


def test_handlers_go_first() -> None:
    def answer(action: Action) -> Iterable[Message]:
        if action.name == "MessageSend":
            return [Response("Error", [("Message", "not today")], action_id=action.action_id)]
        return []

    handlers = {"messagesend": answer, "Silence": answer}
    with LoopbackServer(handlers=handlers) as server, client_of(server.port) as client:
        with pytest.raises(ActionFailed, match="not today"):
            client.send_message("sip:a", "b")
        with pytest.raises(ActionFailed, match="Invalid/unknown command: Other"):
            client.send_action(Action("Other"))
        assert server.messages == []


def test_a_handler_may_say_as_usual() -> None:
    def answer(action: Action) -> HandlerResult:
        return None if action.headers["To"] == "sip:a" else Disconnect(5)

    with LoopbackServer(handlers={"MessageSend": answer, "Ping": refuse("no")}) as server:
        with client_of(server.port) as client:
            client.send_message("sip:a", "b")
            with pytest.raises(ActionFailed, match="no"):
                client.ping()
            with pytest.raises(ConnectionLost):
                client.send_message("sip:b", "b")
        assert [message.to for message in server.messages] == ["sip:a", "sip:b"]
        assert [action.name for action in server.actions] == ["MessageSend", "Ping", "MessageSend"]


def test_a_script_is_followed_step_by_step() -> None:
    with LoopbackServer(handlers={"MessageSend": refuse("later")}) as server:
        server.script(refuse("not now"), Delay(0.2), no_response)
        server.script(Disconnect(), action="ping")
        client = client_of(server.port)
        client.connect()
        with pytest.raises(ActionFailed, match="not now"):
            client.send_message("sip:a", "1")
        start = time.monotonic()
        client.send_message("sip:a", "2")
        assert time.monotonic() - start >= 0.2
        with pytest.raises(ResponseTimeout):
            client.send_message("sip:a", "3", timeout=0.1)
        with pytest.raises(ActionFailed, match="later"):
            client.send_message("sip:a", "4")
        with pytest.raises(ConnectionLost):
            client.ping()
        client.connect()
        client.ping()
        client.close()
        assert server.messages == [Received("sip:a", "2")]
        assert len(server.actions) == 6
        server.messages.clear()
        server.actions.clear()
        assert not server.messages and not server.actions


def test_a_cut_after_every_byte_of_an_answer() -> None:
    whole = b"Response: Success\r\nActionID: x\r\nMessage: Message successfully sent\r\n\r\n"
    send = b"Action: MessageSend\r\nActionID: x\r\nTo: sip:a\r\nBody: b\r\n\r\n"
    with LoopbackServer() as server:
        for after in range(0, len(whole) + 1, 7):
            server.script(Disconnect(after))
            with socket.create_connection((server.host, server.port), 5.0) as sock:
                sock.sendall(_LOGIN + send)
                data = b"".join(iter(lambda: sock.recv(1000), b""))
            assert data.partition(b"accepted\r\n\r\n")[2] == whole[:after]


def test_a_refusal_is_answered_as_by_asterisk() -> None:
    send = b"Action: MessageSend\r\nActionID: x\r\nTo: sip:a\r\nBody: b\r\n\r\n"
    with LoopbackServer() as server:
        server.script(refuse(), refuse("no"))
        answers = _talk(server, _LOGIN, send, send, expect=3)[1:]
    assert answers == [
        b"Response: Error\r\nActionID: x\r\nMessage: %s" % words
        for words in (b"Message failed to send.", b"no")
    ]


def test_the_end_of_the_server_ends_a_delay() -> None:
    start = time.monotonic()
    with LoopbackServer() as server, opened(client_of(server.port)) as client:
        server.script(Delay(60.0))
        with pytest.raises(ResponseTimeout):
            client.send_message("sip:a", "b", timeout=0.05)
    assert time.monotonic() - start < 10.0


def test_a_message_is_equal_but_for_its_action_id() -> None:
    with LoopbackServer() as server, client_of(server.port) as client:
        client.send_message("pjsip:a", "x\n", "D <sip:d@e.org>", {"X-A": "b"}, "pjsip:a")
    (message,) = server.messages
    assert message == Received(
        "pjsip:a", "x\n", "D <sip:d@e.org>", (("X-A", "b"),), "pjsip:a", action_id="another"
    )
    assert message != Received("pjsip:a", "x")
    assert repr(message).startswith("Received(to='pjsip:a', text='x\\n', from_='D <sip:d@e.org>'")
    assert str(message).splitlines() == [
        "  To: pjsip:a", "  From: D <sip:d@e.org>", "  Destination: pjsip:a", "  Variable: X-A=b",
        "  Body: 'x\\n'",
    ]  # fmt: skip
    assert pickle.loads(pickle.dumps(message)) == message
    assert message.body == b"x\n" and message.wire.startswith(b"Action: MessageSend")


def test_its_address_in_one_word() -> None:
    with LoopbackServer(users={"a@b": "c:d/e"}) as server:
        assert server.url == f"ami://a%40b:c%3Ad%2Fe@127.0.0.1:{server.port}"
    assert LoopbackServer(tls=server_tls(), port=7).url == "amis://loopback:loopback@127.0.0.1:7"


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert program.main(["--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"port {port}: ") and "give another --port" in err


@pytest.mark.parametrize("signum, asks_for_port", [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_it_serves_and_prints_until_a_signal(
    monkeypatch: pytest.MonkeyPatch, signum: signal.Signals, asks_for_port: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    servers: List[LoopbackServer] = []
    out, ended = Screen(), threading.Event()

    class Noted(LoopbackServer):
        def open(self) -> None:
            servers.append(self)
            super().open()

    def wait_for(words: str) -> None:
        deadline = time.monotonic() + 5.0
        while words not in out.seen:
            assert time.monotonic() < deadline, words
            time.sleep(0.01)

    def talk() -> None:
        try:
            wait_for("\n")
            with Client.from_url(out.seen[len("AMI_URL=") : -1]) as client:
                client.ping()
                wait_for("Ping\n")
                client.send_message("sip:a", "b")
                wait_for("  Body: 'b'\n")
        finally:
            if not ended.is_set():
                os.kill(os.getpid(), signum)

    monkeypatch.setattr(program, "LoopbackServer", Noted)
    monkeypatch.setattr(sys, "stdout", out)
    thread = start_thread(talk)
    try:
        assert program.main(["--port", str(port)] if asks_for_port else []) == 0
    finally:
        ended.set()
        thread.join()
    (server,) = servers
    assert server.port == port if asks_for_port else server.port >= 1024
    assert out.seen.splitlines() == [
        f"AMI_URL=ami://loopback:loopback@127.0.0.1:{server.port}",
        "Ping", "MessageSend", "  To: sip:a", "  Body: 'b'", "Logoff",
    ]  # fmt: skip
    assert server.messages == server.actions == []  # what was printed need not be kept


def test_what_the_program_says_of_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in ((["--help"], 0), (["--hel"], 2)):
        with pytest.raises(SystemExit) as caught:
            program.main(arguments)
        assert caught.value.code == code
        out, err = capsys.readouterr()
        assert (out + err).startswith("usage: python3 -m amiclient.loopback [-h] [--port PORT]\n")
        if not code:
            assert "\nAn AMI server on 127.0.0.1 that " in out
            assert "--port PORT default: one that is free" in " ".join(out.split())


def test_the_server_runs_as_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "amiclient.loopback.__main__")
    monkeypatch.setattr(sys, "argv", ["loopback", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("amiclient.loopback", run_name="__main__")
    assert caught.value.code == 0


def test_events_go_to_those_who_want_them() -> None:
    with LoopbackServer() as server:
        with client_of(server.port, events="on") as one, client_of(server.port) as other:
            stranger = socket.create_connection((server.host, server.port), 5.0)
            banner = stranger.recv(1000)
            gone = client_of(server.port, events="on")
            gone.connect()
            gone.close()
            server.send_event(Event("Tick"))
            server.send_event(Event("Tick"))
            assert len(list(one.events(timeout=0.2))) == 2
            assert list(other.events(timeout=0.05)) == []
    with stranger:  # who did not log in
        assert b"".join([banner, *iter(lambda: stranger.recv(1000), b"")]).count(b"\n") == 1


def test_an_event_to_a_client_that_is_gone_is_no_error() -> None:
    with LoopbackServer() as server, client_of(server.port, events="on") as client:
        (peer,) = server._peers
        peer.close()  # and its own thread may or may not have noticed
        server._peers.add(peer)
        server.send_event(Event("Tick"))
        client.close()


def test_before_the_login_there_is_nothing_else() -> None:
    with LoopbackServer() as server:
        answers = _talk(
            server,
            b"Action: Ping\r\nActionID: 1\r\n\r\n",
            b"Action: Challenge\r\nActionID: 2\r\n\r\n",
            b"Action: Challenge\r\nAuthType: MD5\r\n\r\n" * 2,
            _LOGIN,
            _LOGIN,
            expect=6,
        )
    assert answers[0] == b"Response: Error\r\nActionID: 1\r\nMessage: Permission denied"
    assert answers[1] == b"Response: Error\r\nActionID: 2\r\nMessage: Must specify AuthType"
    assert answers[2] == answers[3] and answers[2].startswith(b"Response: Success\r\nChallenge: ")
    assert answers[4] == b"Response: Success\r\nMessage: Authentication accepted"
    assert answers[5] == b"Response: Success\r\nMessage: Already authenticated"


def test_a_login_that_is_refused_ends_the_connection() -> None:
    with LoopbackServer() as server:
        # Nothing is left unread, of which the end would be a reset that can overtake the answer.
        answers = _talk(server, _LOGIN.replace(b"Secret: l", b"Secret: L"), expect=2)
    assert answers == [b"Response: Error\r\nMessage: Authentication failed"]


def test_nothing_is_scripted_before_the_login_or_about_it() -> None:
    handlers = {name: refuse("scripted") for name in ("Challenge", "Login", "Logoff", "Ping")}
    with LoopbackServer(handlers=handlers) as server:
        answers = _talk(
            server,
            b"Action: Ping\r\n\r\n",
            b"Action: Challenge\r\nAuthType: MD5\r\n\r\n",
            _LOGIN,
            b"Action: Ping\r\n\r\n",
            b"Action: Logoff\r\n\r\n",
            expect=5,
        )
    words = [answer.rpartition(b": ")[2] for answer in answers]
    del words[1]  # the challenge itself
    assert words == [
        b"Permission denied", b"Authentication accepted", b"scripted", b"Thanks for all the fish.",
    ]  # fmt: skip


def test_the_technology_ends_at_the_first_colon() -> None:
    with LoopbackServer(technologies=["sip"]) as server, client_of(server.port) as client:
        client.send_message("sip:a@example.org:5070", "b")
        assert [message.to for message in server.messages] == ["sip:a@example.org:5070"]


def test_a_server_that_nobody_closed_keeps_no_process() -> None:
    before = set(threading.enumerate())
    with LoopbackServer() as server, client_of(server.port):
        threads = set(threading.enumerate()) - before
        assert len(threads) == 2 and all(thread.daemon for thread in threads)


@pytest.mark.parametrize(
    ("random", "number"),
    [(b"\0\0\0\0", b"0"), (b"\1\2\3\4", b"16909060"), (b"\xff" * 4, b"4294967295")],
)
def test_a_challenge_is_a_random_number_of_32_bits(
    random: bytes, number: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def urandom(size: int) -> bytes:
        assert size == len(random)
        return random

    with LoopbackServer() as server, monkeypatch.context() as patch:
        patch.setattr(os, "urandom", urandom)
        (answer,) = _talk(server, b"Action: Challenge\r\nAuthType: MD5\r\n\r\n", expect=1)
    assert answer == b"Response: Success\r\nChallenge: " + number


def test_md5_without_a_challenge_is_refused() -> None:
    proof = b"d41d8cd98f00b204e9800998ecf8427e"
    login = b"Action: Login\r\nAuthType: MD5\r\nUsername: a\r\nKey: " + proof + b"\r\n\r\n"
    with LoopbackServer(users={"a": ""}) as server:
        (answer,) = _talk(server, login, expect=1)
    assert answer == b"Response: Error\r\nMessage: Authentication failed"


def test_what_is_no_action_is_answered_as_asterisk_does() -> None:
    with LoopbackServer() as server:
        answers = _talk(
            server,
            _LOGIN,
            b"\r\n",
            b"Action: Ping\r\n" + b"X: y\r\n" * 128 + b"\r\n",
            b"Action: MessageSend\r\nBody: b\r\n\r\n",
            b"Action: Logoff\r\n\r\nAction: Ping\r\n\r\n",
            expect=6,
        )
    assert answers[1:] == [
        b"Response: Error\r\nMessage: Missing action in request",
        b"Response: Error\r\nMessage: Too many lines in message or allocation failure",
        b"Response: Error\r\nMessage: No 'To' address specified.",
        b"Response: Goodbye\r\nMessage: Thanks for all the fish.",
    ]


def test_a_client_that_breaks_the_protocol_is_dropped() -> None:
    with LoopbackServer() as server:
        with socket.create_connection((server.host, server.port), 10.0) as sock:
            sock.sendall(b"half an action")
            sock.shutdown(socket.SHUT_WR)
            data = b""
            while True:
                more = sock.recv(1000)
                if not more:
                    break
                data += more
        assert data == b"Asterisk Call Manager/11.0.0\r\n"
