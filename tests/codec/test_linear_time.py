"""Time is linear in the size of the text, for every pattern and every public function."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import time
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Union

import pytest

import amiproto
from amiproto import (
    Action,
    AMIError,
    Banner,
    Connection,
    Event,
    Headers,
    InvalidAction,
    Login,
    MessageSend,
    Response,
    Role,
    ServerLogin,
    Session,
    UnknownMessage,
)
from amiproto.messaging.technology import TECHNOLOGIES, Technology
from tests.strategies import drain, feed

#: Texts are a start, then a filler many times, then an end.
_STARTS = ["", '"', "<", "sip:", "a@", "[", "pjsip:a/", "key", ":", "<sip:"]
_FILLERS = [
    *"a0 \"\\:@<>;=%[]/.,-(\n\r\0\xe9", "%41", "token", "key ", "sip:", ":0", "\\\\", "<a>", ";x=",
    "@ ", "a@", "=a", "[a", "Variable: a=b\r\n", "X: ", "\r\n",
]  # fmt: skip
_ENDS = ["", "x", " x", "\n", "<", ">", "=", "@"]


def texts(size: int, ends: Sequence[str]) -> Iterator[str]:
    """Yield texts of about this many characters, which repeat themselves."""
    for start, filler, end in itertools.product(_STARTS, _FILLERS, ends):
        yield start + filler * (size // len(filler)) + end


def seconds(call: Callable[[str], object], text: str) -> float:
    """Return the CPU time of a call, which can fail."""
    best = 9.9
    for _ in range(3):
        before = time.process_time()
        try:
            call(text)
        except (AMIError, KeyError):
            pass
        best = min(best, time.process_time() - before)
        if best < 0.001:
            break
    return best


def check_linear(
    call: Callable[[str], object], size: int = 2000, ends: Sequence[str] = _ENDS
) -> None:
    """Fail if twice the text takes much more than twice the time."""
    for small, large in zip(texts(size, ends), texts(2 * size, ends)):
        # A fast call needs no comparison. In quadratic time, this one takes 40 ms or more.
        if seconds(call, large) > 0.01:
            # Quadratic time makes it 4 in every attempt, other load only in some.
            ratio = min(seconds(call, large) / seconds(call, small) for _ in range(5))
            assert ratio < 3, f"{ratio:.1f} times as long for {small[:20]!r}...{small[-20:]!r}"


# ---- patterns

PACKAGE = Path(amiproto.__file__ or "").parent
METHODS = ("match", "fullmatch", "search", "sub", "split", "findall", "finditer")


class Use(NamedTuple):
    """One use of a pattern."""

    where: str
    pattern: "re.Pattern[Any]"
    method: str

    def run(self, text: str) -> object:
        """Apply the pattern to a text."""
        subject: Union[str, bytes] = text
        if isinstance(self.pattern.pattern, bytes):
            subject = text.encode("utf-8", "surrogatepass")
        if self.method == "sub":
            return self.pattern.sub(lambda found: found.group(), subject)
        result = getattr(self.pattern, self.method)(subject)
        return list(result) if self.method == "finditer" else result


def uses() -> Iterator[Use]:
    """Yield every use of a pattern in the package."""
    for technology in (Technology(), *TECHNOLOGIES.values()):
        rules = [pattern for pattern, _ in technology.variable_rules.values()]
        for pattern in (technology.variable_names, *rules):
            yield Use(f"variables of {technology.name or 'any technology'}", pattern, "fullmatch")
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("amiproto", *path.relative_to(PACKAGE).with_suffix("").parts)
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        for name, value in vars(module).items():
            if name.endswith("_HINTS") and isinstance(value, tuple):  # of patterns
                for _, pattern, _ in value:
                    yield Use(f"{module.__name__} {name}", re.compile(pattern), "search")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in METHODS:
                    yield from _use(module, node, node.func)


def _use(module: ModuleType, call: ast.Call, method: ast.Attribute) -> Iterator[Use]:
    is_re = isinstance(method.value, ast.Name) and method.value.id == "re"
    where = f"{module.__name__}:{call.lineno}"
    source = ast.Expression(call.args[0] if is_re else method.value)
    try:
        found = eval(compile(source, where, "eval"), vars(module))
    except NameError:
        # A variable: the patterns of the hints, which are yielded elsewhere, or no pattern at all.
        assert not is_re or ast.dump(source.body).startswith("Name(id='pattern'"), where
        return
    if is_re or isinstance(found, re.Pattern):
        yield Use(where, re.compile(found), method.attr)


USES = list(uses())


def test_every_compiled_pattern_is_found() -> None:
    found = {use.pattern.pattern for use in USES}
    for path in PACKAGE.rglob("*.py"):
        parts = ("amiproto", *path.relative_to(PACKAGE).with_suffix("").parts)
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        for name, value in vars(module).items():
            assert not isinstance(value, re.Pattern) or value.pattern in found, name
    assert len(found) > 50


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.where} {use.method}")
def test_pattern_is_linear(use: Use) -> None:
    check_linear(use.run)


# ---- public functions


def _received(text: str) -> List[object]:
    """Return the reprs of all messages in a text, as a client and as a server receive it."""
    shown: List[object] = []
    for role in Role:
        connection = Connection(role)
        data = b"Event: X\r\nA: " + text.encode("utf-8", "surrogatepass") + b"\r\n\r\n"
        if role is Role.CLIENT:
            data = Banner("1.3").wire + b"Response: Follows\r\nPrivilege: Command\r\n" + data
            data += b"--END COMMAND--\r\n\r\n" + data
        shown += [(repr(message), repr(message.headers)) for message in feed(connection, data)]
    return shown


def _message(**arguments: str) -> Callable[[str], object]:
    def call(text: str) -> object:
        asked: Dict[str, Any] = {"to": "pjsip:a", "body": "", **arguments}
        return MessageSend(**{name: value.replace("*", text) for name, value in asked.items()})

    return call


def _login(text: str) -> object:
    login = Login(text, "secret")
    login.receive_response(Response("Success", {"Challenge": text}))
    return login.receive_response(Response("Error", {"Message": text}))


def _server_login(text: str) -> object:
    wire = f"Action: Login\r\nUsername: {text}\r\nSecret: {text}\r\nActionID: {text}\r\n\r\n"
    login = ServerLogin({text: text}, challenge="1")
    return login.receive_action(Action.from_wire(wire.encode("utf-8", "surrogatepass")))


#: Calls by the public name that they call, which is the first word.
CALLS: Dict[str, Callable[[str], object]] = {
    **{f"MessageSend to {technology}": _message(to=f"{technology}:*", from_="xmpp:a")
       for technology in ("sip", "pjsip", "xmpp", "other")},
    **{f"MessageSend from {technology}": _message(to=f"{technology}:a", from_="*")
       for technology in ("sip", "pjsip", "xmpp", "other")},
    "MessageSend without technology": _message(to="*"),
    "MessageSend destination": _message(to="sip:zoe@e", destination="pjsip:a/*"),
    "MessageSend to with destination": _message(to="*", destination="pjsip:a"),
    "MessageSend body": _message(body="*"),
    "MessageSend xmpp body": _message(to="xmpp:a", from_="xmpp:a", body="*"),
    "MessageSend action_id": _message(action_id="*"),
    "MessageSend variable": lambda text: MessageSend("sip:a", "", variables={"X": text, text: "X"}),
    "MessageSend variable name": lambda text: MessageSend("pjsip:a", "", variables={text: "X"}),
    "Action": lambda text: Action("X", {"A": text}),
    "Action name": lambda text: Action(text),
    "Action header": lambda text: Action("X", {text: "A"}),
    "Response": lambda text: repr(Response("Success", {"A": text})),
    "Response output": lambda text: Response("Follows", output=[text]).output,
    "Event": lambda text: repr(Event(text, {"A": text})),
    "UnknownMessage": lambda text: repr(UnknownMessage({text: "A"})),
    "InvalidAction": lambda text: repr(InvalidAction(text.encode() + b"\r\n\r\n")),
    "Banner": lambda text: Banner.from_wire(text.encode()).major,
    "Headers": lambda text: (repr(Headers({"A": text})), Headers({text: "A"}).get(text)),
    "Headers get": lambda text: Headers(f"A: {text}\r\n\r\n".encode()).get(text),
    "Login": _login,
    "ServerLogin": _server_login,
    "redacted": lambda text: list(amiproto.redacted({"A": text, text: "Variable"})),
    "is_secret_name": amiproto.is_secret_name,
    "Session": lambda text: drain(Session(text, text, entropy=bytes(16))),
    "Connection": _received,
    "split_body": amiproto.split_body,
    "escape_variable": amiproto.escape_variable,
    "parse_variables": lambda text: amiproto.parse_variables(text.encode()),
    "parse_message_send": lambda text: repr(amiproto.parse_message_send(
        Action.from_wire(b"Action: MessageSend\r\nTo: " + text.encode() + b"\r\n\r\n")).fields),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_public_function_is_linear(name: str) -> None:
    check_linear(CALLS[name], ends=("", " x"))


def test_every_public_function_is_measured() -> None:
    taking_text = {
        name for name in amiproto.__all__
        if inspect.isfunction(getattr(amiproto, name))
        or inspect.isclass(getattr(amiproto, name))
        and not issubclass(getattr(amiproto, name), (AMIError, Enum, tuple))
    }  # fmt: skip
    assert {name.split()[0] for name in CALLS} == taking_text - {"EndOfStream", "Message"}
