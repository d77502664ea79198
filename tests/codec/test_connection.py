"""Connections in both roles: events and errors do not depend on the chunks of the stream."""

from __future__ import annotations

import gc
import pickle
import weakref
from contextlib import suppress
from typing import Any, Callable, List, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import (
    LINE_TOO_LONG,
    MISSING_ACTION,
    NEED_DATA,
    PLAIN,
    TOO_MANY_LINES,
    Action,
    AMIError,
    Banner,
    Connection,
    EndOfStream,
    Event,
    InvalidAction,
    LocalProtocolError,
    Message,
    RemoteProtocolError,
    Response,
    Role,
    Session,
    State,
    UnknownMessage,
)
from amiproto.limits import MAX_OUTSTANDING
from tests.strategies import (
    BANNER,
    END_COMMAND,
    FOLLOWS,
    OLD_BANNER,
    actions,
    ask,
    banner_lines,
    bytewise,
    cut,
    cuts,
    drain,
    feed,
    messages,
    opened,
    outcome,
    server_messages,
    streams,
)

limits = st.fixed_dictionaries(
    {
        "max_line": st.one_of(st.integers(5, 120), st.just(65536)),
        "max_stanza": st.one_of(st.integers(5, 300), st.just(65536)),
        "max_backlog": st.integers(0, 300),
    }
)


# ---- chunks ----


_server_streams = st.lists(server_messages).map(lambda sent: b"".join([x.wire for x in sent]))


@given(banner_lines, st.one_of(streams(), _server_streams), limits, cuts)
def test_a_client_has_the_same_events_and_error_for_any_chunks(
    banner: bytes, data: bytes, limits: Any, places: List[int]
) -> None:
    data = banner + data
    whole = outcome(Connection(Role.CLIENT, **limits), [data])
    assert outcome(Connection(Role.CLIENT, **limits), cut(data, places)) == whole
    assert outcome(Connection(Role.CLIENT, **limits), bytewise(data)) == whole


@given(streams(), limits, cuts)
def test_a_server_has_the_same_events_for_any_chunks(
    data: bytes, limits: Any, places: List[int]
) -> None:
    whole = outcome(Connection(Role.SERVER, **limits), [data])
    assert whole[1] is None  # a server never fails; Asterisk responds with an error and goes on
    assert outcome(Connection(Role.SERVER, **limits), cut(data, places)) == whole
    assert outcome(Connection(Role.SERVER, **limits), bytewise(data)) == whole


@given(st.sampled_from(Role), st.binary(max_size=300), limits)
def test_arbitrary_bytes_give_events_or_a_remote_protocol_error(
    role: Role, data: bytes, limits: Any
) -> None:
    for connection in (Connection(role, **limits), opened(role, **limits)):
        seen, error = outcome(connection, [data])
        assert error is None or error[0] is RemoteProtocolError
        assert (connection.state is State.ERROR) == (error is not None)
        assert (connection.state is State.CLOSED) == (error is None)
        for event in seen:
            if not isinstance(event, EndOfStream):
                message = event[0].from_wire(event[1])
                repr(message), hash(message), message.headers, message.action_id
                for name in ("name", "output", "message", "version", "major", "reason"):
                    getattr(message, name, None)


# ---- the end of the stream ----


@given(streams())
def test_the_end_has_the_size_of_the_incomplete_stanza(data: bytes) -> None:
    client = opened(Role.CLIENT)
    seen = feed(client, data)
    client.receive_eof()
    (end,) = drain(client)
    assert isinstance(end, EndOfStream)
    assert client.state is State.CLOSED
    rest = data
    for message in seen:
        rest = rest[rest.index(message.wire) + len(message.wire) :]
    assert rest.endswith(data[len(data) - end.unread :])
    assert not rest[: len(rest) - end.unread].strip(b"\r\n")
    assert end.clean == (end.unread == 0)
    assert client.next_event() == end and drain(client) == [end]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("rest", [b"", b"A", b"Event: X\r\n", b"Event: X\r\nA: b\r\n"])
def test_an_end_within_a_stanza_is_not_clean(role: Role, rest: bytes) -> None:
    connection = opened(role)
    feed(connection, b"Action: Ping\r\n\r\n" + rest)
    connection.receive_eof()
    (end,) = drain(connection)
    assert end == EndOfStream(len(rest)) and end.clean == (not rest)


def test_end_of_stream_is_immutable_and_picklable() -> None:
    end = EndOfStream(5)
    assert pickle.loads(pickle.dumps(end)) == end and hash(end) == hash(EndOfStream(5))
    assert end != EndOfStream() and repr(end) == "EndOfStream(unread=5)"
    with pytest.raises(AttributeError):
        end.unread = 4  # type: ignore[misc]
    assert repr(NEED_DATA) == "NEED_DATA" and pickle.loads(pickle.dumps(NEED_DATA)) is NEED_DATA


@pytest.mark.parametrize("role", Role)
def test_data_after_the_end_is_rejected(role: Role) -> None:
    connection = opened(role)
    connection.receive_data(b"")
    connection.receive_eof()
    connection.receive_data(b"")
    with pytest.raises(LocalProtocolError):
        connection.receive_data(b"x")
    assert drain(connection) == [EndOfStream(0)]


# ---- banner ----


def test_the_banner_is_the_first_event() -> None:
    client = Connection(Role.CLIENT)
    assert (client.role, client.state) == (Role.CLIENT, State.BANNER)
    assert feed(client, BANNER + b"Event: X\r\n\r\n") == [Banner("5.0.4"), Event("X")]
    assert client.state is State.OPEN


@pytest.mark.parametrize(
    "data, limit",
    [
        (b"HTTP/1.1 400 Bad Request\r\n", None), (b"\r\n", None),
        (b"Asterisk Call Manager\r\n", None), (b"SSH-2.0-x/y\r\n", None),
        (b"x" * 300 + b"\n", 256), (b"Asterisk Call Manager/".ljust(257, b"x") + b"\n", 256),
    ],
)  # fmt: skip
def test_any_other_first_line_is_rejected(data: bytes, limit: object) -> None:
    for chunks in ([data], bytewise(data)):
        seen, error = outcome(Connection(Role.CLIENT), chunks)
        assert seen == [] and error is not None and error[1]["limit"] == limit


# ---- errors ----


def test_an_error_follows_the_messages_before_it_and_is_permanent() -> None:
    client = opened(Role.CLIENT, max_stanza=50)
    client.receive_data(b"Event: A\r\n\r\n" + b"Event: B\r\n" * 9)
    assert client.next_event() == Event("A")
    raised: List[RemoteProtocolError] = []
    for _ in range(3):
        with pytest.raises(RemoteProtocolError) as caught:
            client.next_event()
        raised.append(caught.value)
        client.receive_data(b"Event: C\r\n\r\n")  # ignored
    assert client.state is State.ERROR and raised[0].limit == 50
    assert len(set(map(id, raised))) == 3 and len({str(vars(error)) for error in raised}) == 1
    with pytest.raises(LocalProtocolError):
        client.send(Action("Ping"))


def test_fail_ends_the_connection() -> None:
    client = opened(Role.CLIENT)
    client.receive_data(b"Event: A\r\n\r\nEvent: B\r\n\r\n")
    assert client.next_event() == Event("A")
    error = RemoteProtocolError("too much", limit=5, action_id="7")
    assert client.fail(error) is error and client.state is State.ERROR
    with pytest.raises(RemoteProtocolError) as caught:
        client.next_event()
    assert vars(caught.value) == vars(error) and caught.value is not error


@pytest.mark.parametrize("role", Role)
def test_a_backlog_is_bounded(role: Role) -> None:
    connection = opened(role, max_stanza=200_000, max_backlog=200_000)
    connection.receive_data(b"Action: Ping\r\n\r\n" * 12_500)
    connection.receive_data(b"A")
    with pytest.raises(RemoteProtocolError) as caught:
        connection.receive_data(b"A")
    assert caught.value.limit == 200_000 and connection.state is State.ERROR
    with pytest.raises(RemoteProtocolError):
        connection.next_event()


@pytest.mark.slow
@pytest.mark.parametrize("role, size", [(Role.CLIENT, 256), (Role.SERVER, 128 * 1024)])
def test_an_incomplete_message_is_not_a_backlog(role: Role, size: int) -> None:
    connection = Connection(role, max_backlog=1, max_stanza=1)
    for chunk in bytewise((b"x" * 1021 + b"\r\n") * (size // 1024) or b"x" * size):
        connection.receive_data(chunk)
        assert connection.next_event() is NEED_DATA


def test_bytes_like_objects_are_copied() -> None:
    client = opened(Role.CLIENT)
    data = bytearray(b"Event: X\r\n\r\n")
    for like in (data, memoryview(data)):
        client.receive_data(like)  # type: ignore[arg-type]
        assert drain(client) == [Event("X")]
    data[:] = b"overwritten "
    assert drain(client) == []


@pytest.mark.parametrize("data", ["", "Event: X\r\n\r\n", None, 0, [69], object()])
def test_received_data_of_another_type_is_rejected(data: Any) -> None:
    for connection in (
        opened(Role.CLIENT),
        opened(Role.SERVER),
        Session("joe", "geheim", entropy=bytes(16)),
    ):
        with pytest.raises(TypeError, match=r"^data must be bytes, not \w+$"):
            connection.receive_data(data)
        assert drain(connection) == []


def test_blank_lines_between_the_stanzas_of_a_server_are_not_kept() -> None:
    # Asterisk's TestEvent is followed by one. Servers respond to a blank line from a client.
    stanzas = [b"Event: A\r\n\r\n", b"Event: B\r\n\r\n"]
    data = b"\r\n" + stanzas[0] + b"\r\n\n\r\n" + stanzas[1] + b"\r\n"
    for chunks in ([data], bytewise(data)):
        client = opened(Role.CLIENT)
        seen = [message.wire for chunk in chunks for message in feed(client, chunk)]
        assert seen == stanzas
        client.receive_eof()
        assert drain(client) == [EndOfStream(0)]
    actions = b"\r\n" + Action("Ping").wire + b"\n"
    assert b"".join(x.wire for x in feed(opened(Role.SERVER), actions)) == actions


def test_a_recording_can_start_in_the_middle() -> None:
    recording = b"text\r\nExten: 1\r\n\r\n" + Event("A").wire + Response("Success").wire
    client = Connection(Role.CLIENT)
    banner, rest, *others = feed(client, Banner("11.0.0").wire + recording)
    assert banner == Banner("11.0.0") and type(rest) is UnknownMessage
    assert others == [Event("A"), Response("Success")]
    # Raw output needs the Command that it belongs to.
    raw = FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND
    for sent in (True, False):
        client = Connection(Role.CLIENT)
        feed(client, OLD_BANNER)
        if sent:
            client.send(Action("Command", {"Command": "x"}))
        assert (len(feed(client, raw)) == 1) == sent
    server = Connection(Role.SERVER)
    server.send(Banner("11.0.0"))
    rest, action = feed(server, b"Exten: 1\r\n\r\n" + Action("Ping").wire)
    assert type(rest) is InvalidAction and action == Action("Ping")


# ---- memory ----


@pytest.mark.parametrize(
    "data",
    [
        BANNER + b"Response: Success\r\n\r\nEvent: X\r\n\r\n",
        BANNER + b"x" * 70_000,
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
@pytest.mark.parametrize(
    "create",
    [
        lambda: Connection(Role.CLIENT),
        lambda: Connection(Role.SERVER),
        lambda: Session("joe", "geheim", entropy=b"x" * 16, mechanism=PLAIN),
    ],
)
def test_objects_are_freed_without_the_garbage_collector(
    create: Callable[[], Union[Connection, Session]], data: bytes
) -> None:
    gc.disable()
    try:
        connection = create()
        for action in [Action("Ping")] * 2:
            with suppress(AMIError):
                feed(connection, data)
            with suppress(AMIError):
                connection.send(action)
        reference = weakref.ref(connection)
        del connection
        assert reference() is None
    finally:
        gc.enable()


# ---- classes of messages ----


@pytest.mark.parametrize(
    "kind, lines",
    [
        (Response, [b"Response: Success", b"RESPONSE:x"]),
        (Event, [b"Event: X", b"event:X"]),
        (UnknownMessage, [b"Event", b"Events: X", b" Event: X", b"Event : X", b"ActionID: 1",
                          b"Action: Ping", b"No queues.", b": x", b"\xff"]),
    ],
)  # fmt: skip
def test_the_first_header_determines_the_class(kind: type, lines: List[bytes]) -> None:
    for line in lines:
        for more in (b"", b"Response: Error\r\nActionID: 1\r\n", b"Event: X\r\n"):
            (message,) = feed(opened(Role.CLIENT), line + b"\r\n" + more + b"\r\n")
            assert type(message) is kind
        (message,) = feed(opened(Role.CLIENT), line + b"\nResponse: Error\r\n\n")
        assert type(message) is kind


# ---- the server's role ----


@pytest.mark.parametrize(
    "data",
    [b"Action: Ping\r\n\r\n", b"aCTION:Ping\n\n", b"Action: \r\nAction: Ping\r\n\r\n",
     b"X: y\r\nAction: Ping\r\n\r\n"],
)  # fmt: skip
def test_a_server_reads_the_name_of_an_action(data: bytes) -> None:
    (action,) = feed(opened(Role.SERVER), data)
    assert type(action) is Action and action.name == "Ping" and action.wire == data


@pytest.mark.parametrize(
    "reason, stanzas",
    [
        (MISSING_ACTION, [b"\r\n", b"\n", b"\0\r\n", b"Action: \r\n\r\n", b"Action\r\n\r\n",
                          b"Action : Ping\r\n\r\n", b"Action: \0Ping\r\n\r\n",
                          b"Response: Success\r\n\r\n"]),
        (LINE_TOO_LONG, [b"Action: Ping\r\n" + b"x" * 1030 + b"\r\n\r\n"]),
        (TOO_MANY_LINES, [b"Action: Ping\r\n" + b"x\r\n" * 128 + b"\r\n"]),
    ],
)  # fmt: skip
def test_a_server_rejects_other_stanzas_as_asterisk_does(reason: str, stanzas: List[bytes]) -> None:
    for data in stanzas:
        (message,) = feed(opened(Role.SERVER), data)
        assert type(message) is InvalidAction and message.reason == reason


# ---- sending ----


@given(
    st.sampled_from(Role),
    st.sampled_from(State),
    st.one_of(messages, st.just(InvalidAction(b"\r\n"))),
)
def test_a_rejected_send_changes_nothing(role: Role, state: State, message: Message) -> None:
    connection = Connection(role)
    if state is not State.BANNER:
        connection = opened(role)
        if state is State.ERROR:
            connection.fail(RemoteProtocolError("x"))
        elif state is State.CLOSED:
            connection.receive_eof()
            drain(connection)
    assert connection.state is state
    allowed = state in (State.OPEN, State.CLOSED) and (
        isinstance(message, Action)
        if role is Role.CLIENT
        else isinstance(message, (Response, Event, UnknownMessage))
    )
    allowed = allowed or (role, state, type(message)) == (Role.SERVER, State.BANNER, Banner)
    follows = isinstance(message, Response) and message.wire.startswith(FOLLOWS)
    try:
        wire = connection.send(message)
    except LocalProtocolError as error:
        assert connection.state is state and error.outcome == "not_sent"
        assert not allowed or follows
    else:
        assert allowed and wire == message.wire
    if state is State.OPEN:
        usable = Action("Ping") if role is Role.CLIENT else Event("Ping")
        assert connection.send(usable) == usable.wire
        (read,) = feed(connection, usable.wire)
        assert read.wire == usable.wire


def test_an_action_that_starts_like_raw_output_is_an_action() -> None:
    wire = FOLLOWS + b"Action: Ping\r\n\r\n"
    for banner in (OLD_BANNER, BANNER):
        (action,) = feed(opened(Role.SERVER, banner), wire)
        assert opened(Role.CLIENT, banner).send(action) == wire


@pytest.mark.parametrize(
    "wire, old, new",
    [
        (FOLLOWS + b"a\n" + END_COMMAND, True, True),
        (FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND, True, False),
        (FOLLOWS + b"a: b\r\n\r\n", False, True),
    ],
)
def test_follows_is_sent_only_if_the_client_can_find_its_end(
    wire: bytes, old: bool, new: bool
) -> None:
    for banner, allowed in ((OLD_BANNER, old), (BANNER, new)):
        server, response = opened(Role.SERVER, banner), Response.from_wire(wire)
        if allowed:
            assert feed(opened(Role.CLIENT, banner), server.send(response)) == [response]
        else:
            with pytest.raises(LocalProtocolError) as caught:
                server.send(response)
            assert caught.value.field == "Response"
        server.send(Event("X"))


@pytest.mark.parametrize("version", ["1.3", "2.10.4", "3.0.0", "11.0.0", "new"])
def test_the_changes_of_asterisk_14_depend_on_the_banner(version: str) -> None:
    # Asterisk 13 sends AMI version 2.x, 14 sends 3.0. Before 14, commands have raw output, and the
    # last byte of a full buffer is dropped. If the version is not a number, raw output is accepted,
    # and the byte is kept.
    is_old, is_new = version.startswith(("1.", "2.")), version[0] in "3n" or version == "11.0.0"
    banner = Banner(version).wire
    client = opened(Role.CLIENT, banner)
    client.send(Action("Command", {"Command": "x"}))
    text = FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND
    assert (feed(client, text)[0].wire == text) == (is_old or version == "new")
    full = b"Action: Ping\r\n" + b"X: ".ljust(1024, b"y") + b"\r\nTo: z\r\n\r\n"
    assert (len(feed(opened(Role.SERVER, banner), full)) == 1) == is_new


@pytest.mark.parametrize("banner", [BANNER, OLD_BANNER])
def test_a_proxy_forwards_responses_after_a_half_close(banner: bytes) -> None:
    # client <-> (front, back) <-> server; front and back are the proxy.
    client, front = Connection(Role.CLIENT), Connection(Role.SERVER)
    back, server = Connection(Role.CLIENT), Connection(Role.SERVER)

    def forward(data: bytes, reader: Connection, writer: Connection) -> bytes:
        return b"".join([writer.send(message) for message in feed(reader, data)])

    feed(client, forward(server.send(Banner.from_wire(banner)), back, front))
    sent = [Action("Ping", action_id="1"), Action("Command", {"Command": "x"}, action_id="2")]
    seen = feed(server, forward(b"".join([client.send(action) for action in sent]), front, back))
    for end in (front, server):
        end.receive_eof()
    assert drain(front) == [EndOfStream()] and drain(server) == [EndOfStream()] and seen == sent
    output = Response(
        "Follows" if banner == OLD_BANNER else "Success",
        {"Privilege": "Command"},
        action_id="2",
        output=["one", "two"],
    )
    responses = [Response("Success", {"Ping": "Pong"}, action_id="1"), output]
    data = b"".join([server.send(response) for response in responses])
    assert feed(client, forward(data, back, front)) == responses


def test_a_server_sends_its_banner_first_even_after_the_clients_end() -> None:
    server = Connection(Role.SERVER)
    server.receive_eof()
    assert drain(server) == [EndOfStream()]
    with pytest.raises(LocalProtocolError):
        server.send(Response("Success"))
    assert server.send(Banner("1.3")) and server.send(Response("Success"))
    assert server.state is State.CLOSED


def test_a_command_is_pending_for_all_stanzas_not_returned_yet() -> None:
    output = FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND
    client = Connection(Role.CLIENT)
    client.receive_data(OLD_BANNER + Event("A").wire + Event("B").wire + output)
    assert [client.next_event(), client.next_event()] == [Banner("1.3"), Event("A")]
    client.send(Action("Command"))
    first, response = drain(client)
    assert first == Event("B") and response.wire == output and response.output == ("a\r", "\r", "b")


def test_pending_commands_are_counted_and_bounded() -> None:
    client = opened(Role.CLIENT, OLD_BANNER)
    output = FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND
    for _ in range(2):
        assert [message.wire for message in feed(client, output)] == [output]
    assert len(feed(client, output)) > 1  # no third command without an ActionID is pending
    feed(client, b"".join([b"Response: Error\r\nActionID: %d\r\n\r\n" % n for n in (1, 3, 7)]))
    for number in range(MAX_OUTSTANDING):
        ask(client, f"id {number}")
    with pytest.raises(LocalProtocolError) as caught:
        ask(client, "one more")
    assert caught.value.limit == caught.value.actual == MAX_OUTSTANDING
    assert caught.value.action_id == "one more"
    client.send(Action("Ping"))
    server = opened(Role.SERVER, OLD_BANNER)
    for number in range(MAX_OUTSTANDING + 10):
        ask(server, f"id {number}")
    late = Response("Follows", {"Privilege": "Command"}, action_id=f"id {MAX_OUTSTANDING + 9}",
                    output=["a\r", "\r", "b"])  # fmt: skip
    with pytest.raises(LocalProtocolError) as caught:
        server.send(late)
    assert caught.value.field == "Response"


# ---- a client and a server ----


@given(
    st.lists(st.one_of(actions, server_messages), max_size=10),
    cuts,
    st.sampled_from([BANNER, OLD_BANNER]),
)
def test_a_client_and_a_server_understand_each_other(
    sent: List[Message], places: List[int], banner: bytes
) -> None:
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER)
    feed(client, server.send(Banner.from_wire(banner)))
    to_server: List[Message] = []
    to_client: List[Message] = []
    upwards = downwards = b""
    for message in sent:
        if message.wire.startswith(FOLLOWS) and isinstance(message, Response):
            # An earlier response with the same ActionID would be taken for the command's.
            sent_before = [one.action_id for one in to_client if isinstance(one, Response)]
            if message.action_id in sent_before:
                continue
            command = ask(client, message.action_id)
            feed(server, command)
        sender = client if isinstance(message, Action) else server
        try:
            wire = sender.send(message)
        except LocalProtocolError:
            assert message.wire.startswith(FOLLOWS)
            continue
        if sender is client:
            to_server.append(message)
            upwards += wire
        else:
            to_client.append(message)
            downwards += wire
    for receiver, wire, expected in ((server, upwards, to_server), (client, downwards, to_client)):
        seen: List[Any] = []
        for chunk in cut(wire, places):
            seen += feed(receiver, chunk)
        receiver.receive_eof()
        seen += drain(receiver)
        assert seen == [*expected, EndOfStream(0)]
