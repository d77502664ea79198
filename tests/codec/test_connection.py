"""One connection in either role: the same events and the same error, however the bytes arrive."""

from __future__ import annotations

import pickle
import re
import time
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import (
    LINE_TOO_LONG,
    MISSING_ACTION,
    NEED_DATA,
    TOO_MANY_LINES,
    Action,
    Banner,
    Connection,
    EndOfStream,
    Event,
    InvalidAction,
    LocalProtocolError,
    Message,
    MessageSend,
    RemoteProtocolError,
    Response,
    Role,
    State,
    UnknownMessage,
)
from amiproto.connection import message_class
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
    exactly,
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


# ---- any cutting ----


@given(banner_lines, streams(), limits, cuts)
def test_any_cutting_gives_a_client_the_same(
    banner: bytes, data: bytes, limits: Any, places: List[int]
) -> None:
    data = banner + data
    whole = outcome(Connection(Role.CLIENT, **limits), [data])
    assert outcome(Connection(Role.CLIENT, **limits), cut(data, places)) == whole
    assert outcome(Connection(Role.CLIENT, **limits), bytewise(data)) == whole


@given(
    st.sampled_from([BANNER, OLD_BANNER]),
    st.one_of(streams(), st.lists(server_messages).map(lambda m: b"".join([x.wire for x in m]))),
    limits,
)
def test_stanzas_one_at_a_time_are_those_that_come_together(
    banner: bytes, data: bytes, limits: Any
) -> None:
    pieces = re.findall(rb"(?s).*?\r\n\r\n|.+", data)
    assert b"".join(pieces) == data
    whole = outcome(Connection(Role.CLIENT, **limits), [banner + data])
    assert outcome(Connection(Role.CLIENT, **limits), [banner, *pieces]) == whole
    # And where nobody asks for them in between.
    waiting, seen = Connection(Role.CLIENT), Connection(Role.CLIENT)
    for piece in (banner, *pieces):
        waiting.receive_data(piece)
    assert outcome(waiting, []) == outcome(seen, [banner, *pieces])


@given(streams(), limits, cuts)
def test_any_cutting_gives_a_server_the_same_events(
    data: bytes, limits: Any, places: List[int]
) -> None:
    whole = outcome(Connection(Role.SERVER, **limits), [data])
    assert whole[1] is None  # a server, as Asterisk, answers nonsense and goes on
    assert outcome(Connection(Role.SERVER, **limits), cut(data, places)) == whole
    assert outcome(Connection(Role.SERVER, **limits), bytewise(data)) == whole


@given(st.sampled_from([BANNER, OLD_BANNER]), streams(), limits, st.integers(0, 4000))
def test_every_beginning_gives_a_beginning_of_the_events(
    banner: bytes, data: bytes, limits: Any, size: int
) -> None:
    whole, _ = outcome(Connection(Role.CLIENT, **limits), [banner + data], eof=False)
    part, _ = outcome(Connection(Role.CLIENT, **limits), [(banner + data)[:size]], eof=False)
    assert part == whole[: len(part)]


@given(st.sampled_from(Role), st.binary(max_size=300), limits)
def test_arbitrary_bytes_give_events_or_a_protocol_error(
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


@given(st.lists(server_messages, max_size=5), st.binary(max_size=15), st.booleans())
def test_stanzas_come_whole_in_order_whatever_lies_between(
    sent: List[Message], extra: bytes, bare: bool
) -> None:
    blank = b"\r\n" * (len(extra) % 3) + (b"\n" if bare else b"")
    data = blank + b"".join(message.wire + blank for message in sent)
    client = opened(Role.CLIENT, OLD_BANNER)
    for message in sent:
        ask(client, message.action_id)
    assert [exactly(event) for event in feed(client, data)] == [exactly(m) for m in sent]


@pytest.mark.parametrize(
    "text", [b"", b"\r\n", b"\r\n\r\n", b"a\r\n\r\nEvent: X\r\n\r\n", b"--END"]
)
def test_raw_text_is_whole_between_other_stanzas(text: bytes) -> None:
    event, response = b"Event: A\r\n\r\n", FOLLOWS + text + END_COMMAND
    client = opened(Role.CLIENT, OLD_BANNER)
    seen = feed(client, event + response + event + response + event)
    assert [message.wire for message in seen] == [event, response, event, response, event]


# ---- the end of the stream ----


@given(streams())
def test_the_end_tells_what_was_cut_off(data: bytes) -> None:
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
def test_an_end_inside_a_stanza_is_not_clean(role: Role, rest: bytes) -> None:
    connection = opened(role)
    feed(connection, b"Action: Ping\r\n\r\n" + rest)
    connection.receive_eof()
    (end,) = drain(connection)
    assert end == EndOfStream(len(rest)) and end.clean == (not rest)


def test_an_end_before_the_banner_is_an_end_too() -> None:
    for data in (b"", b"Asterisk Call"):
        client = Connection(Role.CLIENT)
        feed(client, data)
        client.receive_eof()
        assert drain(client) == [EndOfStream(len(data))]


def test_end_of_stream_is_a_value() -> None:
    end = EndOfStream(5)
    assert pickle.loads(pickle.dumps(end)) == end and hash(end) == hash(EndOfStream(5))
    assert end != EndOfStream() and end != 5 and repr(end) == "EndOfStream(unread=5)"
    with pytest.raises(AttributeError):
        end.unread = 4
    assert repr(NEED_DATA) == "NEED_DATA" and pickle.loads(pickle.dumps(NEED_DATA)) is NEED_DATA


@pytest.mark.parametrize("role", Role)
def test_data_after_the_end_is_a_local_error(role: Role) -> None:
    connection = opened(role)
    connection.receive_data(b"")
    connection.receive_eof()
    connection.receive_data(b"")
    with pytest.raises(LocalProtocolError, match="after the end"):
        connection.receive_data(b"x")
    assert drain(connection) == [EndOfStream(0)]


# ---- banner ----


def test_a_banner_comes_first_and_opens_the_connection() -> None:
    client = Connection(Role.CLIENT)
    assert (client.role, client.state) == (Role.CLIENT, State.BANNER)
    assert feed(client, BANNER + b"Event: X\r\n\r\n") == [Banner("5.0.4"), Event("X")]
    assert client.state is State.OPEN


@pytest.mark.parametrize(
    "data, sentence",
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "not the banner"),
        (b"\r\n", "not the banner"),
        (b"Asterisk Call Manager\r\n", "not the banner"),
        (b"SSH-2.0-x/y\r\n", "not the banner"),
        (b"x" * 257, "over 256 bytes"),
        (b"x" * 300 + b"\n", "over 256 bytes"),
    ],
)
def test_any_other_first_line_is_no_ami(data: bytes, sentence: str) -> None:
    for chunks in ([data], bytewise(data)):
        seen, error = outcome(Connection(Role.CLIENT), chunks)
        assert seen == [] and error is not None and sentence in error[1]["message"]


def test_a_first_line_of_256_bytes_is_read() -> None:
    banner = b"Asterisk Call Manager/".ljust(256, b"1") + b"\n"
    (seen,) = feed(Connection(Role.CLIENT), banner)
    assert type(seen) is Banner and seen.wire == banner


# ---- errors ----


def test_an_error_comes_after_the_messages_before_it_and_stays() -> None:
    client = opened(Role.CLIENT, max_stanza=50)
    client.receive_data(b"Event: A\r\n\r\n" + b"Event: B\r\n" * 9)
    assert client.next_event() == Event("A")
    raised: List[RemoteProtocolError] = []
    for _ in range(3):
        with pytest.raises(RemoteProtocolError, match="stanza of over 50 bytes") as caught:
            client.next_event()
        raised.append(caught.value)
        client.receive_data(b"Event: C\r\n\r\n")  # ignored
    assert client.state is State.ERROR
    assert len(set(map(id, raised))) == 3 and len({str(vars(error)) for error in raised}) == 1
    with pytest.raises(LocalProtocolError, match="has ended"):
        client.send(Action("Ping"))


def test_an_error_of_a_layer_above_ends_the_connection() -> None:
    client = opened(Role.CLIENT)
    client.receive_data(b"Event: A\r\n\r\nEvent: B\r\n\r\n")
    assert client.next_event() == Event("A")  # and what came along with it goes unread
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
    with pytest.raises(RemoteProtocolError, match="over 200000 bytes wait unread") as caught:
        connection.receive_data(b"A")
    assert caught.value.limit == 200_000 and connection.state is State.ERROR
    with pytest.raises(RemoteProtocolError, match="wait unread"):
        connection.next_event()


@pytest.mark.slow
@pytest.mark.parametrize("role, size", [(Role.CLIENT, 256), (Role.SERVER, 128 * 1024)])
def test_one_message_in_part_is_no_backlog(role: Role, size: int) -> None:
    connection = Connection(role, max_backlog=1, max_stanza=1)
    for chunk in bytewise((b"x" * 1021 + b"\r\n") * (size // 1024) or b"x" * size):
        connection.receive_data(chunk)
        assert connection.next_event() is NEED_DATA


def test_bytes_like_objects_are_taken() -> None:
    client = opened(Role.CLIENT)
    data = bytearray(b"Event: X\r\n\r\n")
    for like in (data, memoryview(data)):
        client.receive_data(like)  # type: ignore[arg-type]
        assert drain(client) == [Event("X")]
    data[:] = b"overwritten "
    assert drain(client) == []


# ---- classification ----


@pytest.mark.parametrize(
    "line, kind",
    [
        (b"Response: Success", Response),
        (b"RESPONSE:x", Response),
        (b"Event: X", Event),
        (b"event:X", Event),
        (b"Event", UnknownMessage),
        (b"Events: X", UnknownMessage),
        (b" Event: X", UnknownMessage),
        (b"Event : X", UnknownMessage),
        (b"ActionID: 1", UnknownMessage),
        (b"Action: Ping", UnknownMessage),
        (b"No queues.", UnknownMessage),
        (b": x", UnknownMessage),
        (b"\xff", UnknownMessage),
    ],
)
def test_the_first_header_alone_says_what_a_stanza_is(line: bytes, kind: type) -> None:
    assert message_class(line) is kind
    for more in (b"", b"Response: Error\r\nActionID: 1\r\n", b"Event: X\r\n"):
        (message,) = feed(opened(Role.CLIENT), line + b"\r\n" + more + b"\r\n")
        assert type(message) is kind
    (message,) = feed(opened(Role.CLIENT), line + b"\nResponse: Error\n\n")
    assert type(message) is kind


def test_an_originate_response_is_an_event() -> None:
    data = b"Event: OriginateResponse\r\nActionID: 1\r\nResponse: Failure\r\n\r\n"
    (event,) = feed(opened(Role.CLIENT), data)
    assert type(event) is Event and event.action_id == "1"
    assert event.headers["Response"] == "Failure"


@pytest.mark.slow
def test_many_odd_stanzas_take_linear_time() -> None:
    data = b"\nEvent: X\r\n\r\nno colon\n\nResponse: Follows\r\n\r\n" * 40_000
    started = time.perf_counter()
    assert len(feed(opened(Role.CLIENT), data)) == 120_000
    assert time.perf_counter() - started < 20


# ---- the server's role ----


@pytest.mark.parametrize(
    "data, kind, reason",
    [
        (b"Action: Ping\r\n\r\n", Action, None),
        (b"aCTION:Ping\n\n", Action, None),
        (b"Action: \r\nAction: Ping\r\n\r\n", Action, None),
        (b"X: y\r\nAction: Ping\r\n\r\n", Action, None),
        (b"\r\n", InvalidAction, MISSING_ACTION),
        (b"\n", InvalidAction, MISSING_ACTION),
        (b"\0\r\n", InvalidAction, MISSING_ACTION),
        (b"Action: \r\n\r\n", InvalidAction, MISSING_ACTION),
        (b"Action : Ping\r\n\r\n", InvalidAction, MISSING_ACTION),
        (b"Action\r\n\r\n", InvalidAction, MISSING_ACTION),
        (b"Action: \0Ping\r\n\r\n", InvalidAction, MISSING_ACTION),
        (b"Response: Success\r\n\r\n", InvalidAction, MISSING_ACTION),
        (b"Action: Ping\r\n" + b"x" * 1030 + b"\r\n\r\n", InvalidAction, LINE_TOO_LONG),
        (b"Action: Ping\r\n" + b"x\r\n" * 128 + b"\r\n", InvalidAction, TOO_MANY_LINES),
    ],
)
def test_what_a_server_makes_of_a_stanza(data: bytes, kind: type, reason: object) -> None:
    (message,) = feed(opened(Role.SERVER), data)
    assert type(message) is kind and getattr(message, "reason", None) == reason
    assert getattr(message, "name", "Ping") == "Ping"


# ---- sending ----


@given(st.sampled_from(Role), st.sampled_from(State), messages)
def test_a_refused_send_changes_nothing(role: Role, state: State, message: Message) -> None:
    connection = Connection(role)
    if state is not State.BANNER:
        connection = opened(role)
        if state is State.ERROR:
            connection.fail(RemoteProtocolError("x"))
        elif state is State.CLOSED:
            connection.receive_eof()
            drain(connection)
    assert connection.state is state
    before = vars(connection).copy()
    # After the peer's end, one's own messages can still be sent.
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
        assert vars(connection) == before and connection.state is state
        assert not allowed or follows
        assert error.outcome == "not_sent"
    else:
        assert allowed and wire == message.wire
    if state is State.OPEN:
        usable = Action("Ping") if role is Role.CLIENT else Event("Ping")
        assert connection.send(usable) == usable.wire
        (read,) = feed(connection, usable.wire)
        assert read.wire == usable.wire


def test_an_action_that_starts_like_raw_text_is_an_action() -> None:
    wire = FOLLOWS + b"Action: Ping\r\n\r\n"
    for banner in (OLD_BANNER, BANNER):
        (action,) = feed(opened(Role.SERVER, banner), wire)
        assert opened(Role.CLIENT, banner).send(action) == wire


def test_a_malformed_message_is_never_sent() -> None:
    for role in Role:
        with pytest.raises(LocalProtocolError, match="sends no InvalidAction"):
            opened(role).send(InvalidAction.from_wire(b"\r\n"))


def test_a_client_waits_for_the_banner() -> None:
    with pytest.raises(LocalProtocolError, match="wait for the server's Banner"):
        Connection(Role.CLIENT).send(Action("Ping"))
    with pytest.raises(LocalProtocolError, match="client in state open sends no Event"):
        opened(Role.CLIENT).send(Event("X"))
    with pytest.raises(LocalProtocolError, match="server in state open sends no Banner"):
        opened(Role.SERVER).send(Banner("1.3"))
    with pytest.raises(LocalProtocolError, match="server in state banner sends no Event"):
        Connection(Role.SERVER).send(Event("X"))


@pytest.mark.parametrize(
    "wire, old, new",
    [
        (FOLLOWS + b"a\n" + END_COMMAND, True, True),
        (FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND, True, False),
        (FOLLOWS + b"a: b\r\n\r\n", False, True),
    ],
)
def test_follows_is_sent_where_the_other_end_finds_its_end(
    wire: bytes, old: bool, new: bool
) -> None:
    for banner, allowed in ((OLD_BANNER, old), (BANNER, new)):
        server, response = opened(Role.SERVER, banner), Response.from_wire(wire)
        if allowed:
            assert feed(opened(Role.CLIENT, banner), server.send(response)) == [response]
        else:
            with pytest.raises(LocalProtocolError, match="Follows"):
                server.send(response)
        server.send(Event("X"))


@pytest.mark.parametrize("version", ["1.3", "2.10.4", "3.0.0", "11.0.0", "new"])
def test_what_asterisk_14_changed_goes_by_the_banner(version: str) -> None:
    # Asterisk 13 says 2.x and 14 says 3.0: before, a command is answered in raw text, and the last
    # byte of a full buffer is lost. A version that is no number may be either, so that raw text is
    # understood, and the byte is kept.
    is_old, is_new = version.startswith(("1.", "2.")), version[0] in "3n" or version == "11.0.0"
    banner = Banner(version).wire
    client = opened(Role.CLIENT, banner)
    client.send(Action("Command", {"Command": "x"}))
    text = FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND
    assert (feed(client, text)[0].wire == text) == (is_old or version == "new")
    full = b"Action: Ping\r\n" + b"X: ".ljust(1024, b"y") + b"\r\nTo: z\r\n\r\n"
    assert (len(feed(opened(Role.SERVER, banner), full)) == 1) == is_new


@pytest.mark.parametrize("role", Role)
def test_the_two_directions_end_apart(role: Role) -> None:
    connection = opened(role)
    connection.receive_eof()
    assert drain(connection) == [EndOfStream()] and connection.state is State.CLOSED
    message = Action("Ping") if role is Role.CLIENT else Response("Success")
    assert connection.send(message) == message.wire
    assert drain(connection) == [EndOfStream()]


@pytest.mark.parametrize("banner", [BANNER, OLD_BANNER])
def test_a_proxy_passes_on_what_comes_after_a_half_close(banner: bytes) -> None:
    # client | front = proxy = back | server, each end a connection.
    client, front = Connection(Role.CLIENT), Connection(Role.SERVER)
    back, server = Connection(Role.CLIENT), Connection(Role.SERVER)

    def pass_on(data: bytes, reader: Connection, writer: Connection) -> bytes:
        return b"".join([writer.send(message) for message in feed(reader, data)])

    feed(client, pass_on(server.send(Banner.from_wire(banner)), back, front))
    asked = [Action("Ping", action_id="1"), Action("Command", {"Command": "x"}, action_id="2")]
    upwards = b"".join([client.send(action) for action in asked])
    # The client says no more. Both ends of the proxy learn of it, and go on the other way.
    seen = feed(server, pass_on(upwards, front, back))
    front.receive_eof()
    assert drain(front) == [EndOfStream()]
    server.receive_eof()
    assert seen == asked and drain(server) == [EndOfStream()]
    text = Response("Follows" if banner == OLD_BANNER else "Success", {"Privilege": "Command"},
                    action_id="2", output=["one", "two"])  # fmt: skip
    answers = [Response("Success", {"Ping": "Pong"}, action_id="1"), text]
    downwards = b"".join([server.send(answer) for answer in answers])
    assert feed(client, pass_on(downwards, back, front)) == answers


def test_a_server_whose_client_left_early_still_greets_first() -> None:
    server = Connection(Role.SERVER)
    server.receive_eof()
    assert drain(server) == [EndOfStream()]
    with pytest.raises(LocalProtocolError, match="sends no Response"):
        server.send(Response("Success"))
    assert server.send(Banner("1.3")) and server.send(Response("Success"))
    assert server.state is State.CLOSED


def test_commands_that_wait_are_counted_and_bounded() -> None:
    client = opened(Role.CLIENT, OLD_BANNER)
    text = FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND
    (first,), (second,) = feed(client, text), feed(client, text)
    assert first.wire == second.wire == text
    # A third such answer is none: nobody asked for it.
    assert len(feed(client, text)) > 1
    feed(client, b"".join([b"Response: Error\r\nActionID: %d\r\n\r\n" % n for n in (1, 3, 7)]))
    for number in range(MAX_OUTSTANDING):
        ask(client, f"id {number}")
    with pytest.raises(LocalProtocolError, match="commands wait for an answer") as caught:
        ask(client, "one more")
    assert caught.value.limit == caught.value.actual == MAX_OUTSTANDING
    assert caught.value.action_id == "one more"
    client.send(Action("Ping"))
    server = opened(Role.SERVER, OLD_BANNER)
    for number in range(MAX_OUTSTANDING + 10):
        ask(server, f"id {number}")
    late = Response("Follows", {"Privilege": "Command"}, action_id=f"id {MAX_OUTSTANDING + 9}",
                    output=["a\r", "\r", "b"])  # fmt: skip
    with pytest.raises(LocalProtocolError, match="Follows") as caught:
        server.send(late)
    assert caught.value.field == "Response"


# ---- wired to each other ----


@given(
    st.lists(st.one_of(actions, server_messages), max_size=10),
    cuts,
    st.sampled_from([BANNER, OLD_BANNER]),
)
def test_a_client_and_a_server_wired_to_each_other(
    sent: List[Message], places: List[int], banner: bytes
) -> None:
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER)
    greeting = Banner.from_wire(banner)
    assert feed(client, server.send(greeting)) == [greeting]
    to_server: List[Message] = []
    to_client: List[Message] = []
    upwards = downwards = b""
    for message in sent:
        if message.wire.startswith(FOLLOWS) and isinstance(message, Response):
            # An answer of that name that is on its way would be taken for the command's.
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


def test_a_message_send_goes_over_the_wire_as_the_action_it_is() -> None:
    message = MessageSend("pjsip:alice", "two\nlines", action_id="7")
    (action,) = feed(opened(Role.SERVER), opened(Role.CLIENT).send(message))
    assert type(action) is Action and action.wire == message.wire
