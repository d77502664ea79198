"""The codec does no I/O, knows no clock and no thread, and lives in any folder."""

from __future__ import annotations

import ast
import enum
import gc
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Callable, Iterator, List, Mapping, Set, Tuple

import pytest

import amiproto
from amiproto import Action, LocalProtocolError, MessageSend
from amiproto.messaging.technology import Technology

PACKAGE = Path(amiproto.__file__).resolve().parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: What reads, writes, waits, or knows the time.
IMPURE = {
    "asyncio", "concurrent", "ctypes", "datetime", "http", "io", "logging", "multiprocessing",
    "os", "pathlib", "queue", "random", "sched", "secrets", "select", "selectors", "signal",
    "socket", "socketserver", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
    "_thread", "_socket", "_ssl",
}  # fmt: skip
#: What no import of the package may bring along, by whatever way.
NEVER = {
    "asyncio", "concurrent.futures", "datetime", "http", "logging", "multiprocessing", "queue",
    "random", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading",
    "_socket", "_ssl",
}  # fmt: skip
#: Names of builtins that do what the modules above do.
IMPURE_CALLS = {"open", "print", "input", "__import__", "eval", "exec"}


def python(code: str, *arguments: str) -> str:
    """Run code in an interpreter without site packages, environment or current folder."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_loads_nothing_that_does_io_or_waits() -> None:
    loaded = python(
        "import sys, json\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "before = set(sys.modules)\n"
        "import amiproto\n"
        "print(json.dumps([sorted(before), sorted(set(sys.modules) - before)]))\n",
        str(PACKAGE.parent),
    )
    before, new = json.loads(loaded)
    assert not NEVER & set(before), "the interpreter loads them anyway: the test shows nothing"
    assert not (IMPURE | NEVER) & set(new)
    assert {f"amiproto.{name}".rstrip(".") for name in MODULES} <= set(new)
    # All of it comes with Python.
    assert {name.partition(".")[0] for name in new} - {"amiproto"} <= standard_library()


def standard_library() -> Set[str]:
    names = getattr(sys, "stdlib_module_names", None)  # since Python 3.10
    if names is None:
        folder = Path(inspect.__file__).parent
        names = {path.stem for path in folder.iterdir()} | set(sys.builtin_module_names)
        names |= {path.name.partition(".")[0] for path in folder.glob("lib-dynload/*")}
    return set(names)


def name_of(path: Path) -> str:
    """The name of a module within the package: ``messaging.sip``, ``messaging`` for its own."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in SOURCES}


def imports(path: Path) -> Iterator[Tuple[bool, str]]:
    """Every import of a module, wherever it stands: whether it is relative, and what of."""
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield False, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= len(package) + 1, "out of the package"
            yield True, ".".join([*package[: len(package) + 1 - node.level], node.module or ""])
        elif isinstance(node, ast.ImportFrom):
            yield False, node.module or ""


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_its_neighbours_and_pure_modules(name: str) -> None:
    for is_relative, other in imports(MODULES[name]):
        top = other.partition(".")[0]
        if is_relative:
            assert other in MODULES
        else:
            assert top not in IMPURE and top != "amiproto" and top in standard_library(), other


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_calls_nothing_that_does_io(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"line {node.lineno}"


def test_modules_are_read_leaves_first_and_in_no_circle() -> None:
    needs = {
        name: {other for is_relative, other in imports(path) if is_relative}
        for name, path in MODULES.items()
    }
    read: List[str] = []
    while needs:
        ready = sorted(name for name, wanted in needs.items() if wanted <= set(read))
        assert ready, f"a circle among {sorted(needs)}"
        for name in ready:
            del needs[name]
        read += ready


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_in_the_reading_order(name: str) -> None:
    package, _, module = name.rpartition(".")
    told = ast.get_docstring(ast.parse(MODULES[package].read_text(encoding="utf-8")))
    assert told is not None and (not module or f"``{module}``" in told)


def underscores(tree: ast.AST) -> Iterator[Tuple[int, str]]:
    """Every attribute with an underscore that is not asked of self or of the class itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            if not node.attr.endswith("__"):
                yield node.lineno, node.attr


@pytest.mark.parametrize("name", MODULES)
def test_no_underscore_is_used_across_modules(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    # What the module's own classes have, or inherit from the base whose hooks they fill.
    own = {
        node.attr for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        and node.value.id == "self" and isinstance(node.ctx, ast.Store)
    }  # fmt: skip
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    inherited = {"_fill", "_content", "_head"}
    for line, attribute in underscores(tree):
        assert attribute in own | inherited, f"line {line}: {attribute}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert not alias.name.startswith("_"), f"line {node.lineno}: {alias.name}"


def test_no_object_is_made_past_its_constructor() -> None:
    made = [
        f"{name}:{node.lineno}" for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "__new__"
    ]  # fmt: skip
    # The one other way to make a message, out of its bytes.
    assert [place.partition(":")[0] for place in made] == ["messages"]


@pytest.mark.parametrize("name", MODULES)
def test_no_module_has_state_that_changes(name: str) -> None:
    module = importlib.import_module(f"amiproto.{name}".rstrip("."))
    holders: List[Tuple[str, Mapping[str, object]]] = [(name, vars(module))]
    holders += [
        (f"{name}.{value.__name__}", vars(value)) for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]  # fmt: skip
    allowed = (str, bytes, int, float, tuple, frozenset, type(None), bool, enum.Enum, type,
               re.Pattern, MappingProxyType, ModuleType, FunctionType, BuiltinFunctionType,
               property, classmethod, staticmethod, MemberDescriptorType, GetSetDescriptorType,
               Technology, type(annotations))  # fmt: skip
    for where, names in holders:
        for key, value in names.items():
            if not key.startswith("__") and key not in ("_member_map_", "_value2member_map_"):
                if not key.startswith("_member") and not key.endswith("_"):
                    assert isinstance(value, allowed), (where, key, type(value))
                    assert not hasattr(value, "cache_clear"), (where, key)
                if isinstance(value, tuple):
                    hash(value)


@pytest.mark.slow
def test_nothing_refused_is_kept() -> None:
    def refuse(number: int) -> None:
        text = f"{number}".ljust(1_000_000, "x")
        made: List[Callable[[], object]] = [
            lambda: MessageSend(f"sip:alice@host {text}"),
            lambda: MessageSend("pjsip:alice", from_=text + "\n"),
            lambda: MessageSend("pjsip:alice", text),
            lambda: MessageSend("pjsip:alice", variables={text: "x", text + " ": "y"}),
            lambda: MessageSend("pjsip:alice", variables={"X": text}),
            lambda: Action("X", {text: "a\nb"}),
            lambda: Action("X", action_id=text),
        ]
        for make in made:
            with pytest.raises(LocalProtocolError):
                make()

    refuse(0)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, 144):  # seven a round: 1,001 of them
            refuse(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


USE = """
import sys
sys.path.insert(0, sys.argv[1])
import outer.vendored_ami as ami
assert not any(name.split(".")[0] in ("amiproto", "socket", "threading") for name in sys.modules)

def drain(reader):
    events = []
    while True:
        event = reader.next_event()
        if event is ami.NEED_DATA:
            return events
        events.append(event)

session = ami.Session("joe", "geheim", entropy=b"x" * 16)
server = ami.Connection(ami.Role.SERVER)
session.receive_data(server.send(ami.Banner("11.0.0")))
for headers in ({"Challenge": "12345"}, {"Message": "Authentication accepted"}):
    events = drain(session)
    assert events == [], events
    server.receive_data(session.data_to_send())
    (action,) = drain(server)
    answer = ami.Response("Success", headers, action_id=action.action_id)
    session.receive_data(server.send(answer))
(logged_in,) = drain(session)
assert isinstance(logged_in, ami.LoggedIn)
sent = session.send(ami.MessageSend("pjsip:alice", "two\\nlines", variables={"X-A": 'a,"b"'}))
server.receive_data(sent.wire)
(action,) = drain(server)
assert ami.parse_message_send(action) == sent
answer = ami.Response("Success", {"Message": "Message successfully sent"}, action_id=sent.action_id)
session.receive_data(server.send(answer))
(answer,) = drain(session)
assert answer.action_id == sent.action_id
import pickle
assert pickle.loads(pickle.dumps(sent)) == sent
print(answer.response.message, sent.__class__.__module__)
"""


def test_the_codec_works_under_another_name_in_a_package(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    shutil.copytree(PACKAGE, outer / "vendored_ami", ignore=shutil.ignore_patterns("__pycache__"))
    (outer / "__init__.py").write_text("")
    assert python(USE, str(tmp_path)) == (
        "Message successfully sent outer.vendored_ami.messaging.message\n"
    )


# ---- what is public ----


def public_classes() -> List[type]:
    return [value for value in map(amiproto.__dict__.get, amiproto.__all__)
            if isinstance(value, type)]  # fmt: skip


def test_the_public_names_are_sorted_unique_and_there() -> None:
    names = amiproto.__all__
    assert names == sorted(set(names))
    assert all(hasattr(amiproto, name) for name in names)
    imported = {
        alias.asname or alias.name
        for node in ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(names)


@pytest.mark.parametrize("name", amiproto.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(amiproto, name)
    if isinstance(value, type) or inspect.isfunction(value):
        assert value.__doc__ and value.__doc__.strip()
        return
    # A constant: the comment in front of it says what it is.
    written = [path.read_text(encoding="utf-8").splitlines() for path in SOURCES]
    documented = [
        lines[index - 1].startswith("#:")
        for lines in written
        for index, line in enumerate(lines)
        if line.startswith((f"{name} = ", f"{name}: "))
    ]
    assert documented == [True]


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_every_public_method_and_property_is_documented(kind: type) -> None:
    for name, value in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(value, (classmethod, staticmethod)):
            value = value.__func__
        if isinstance(value, property) or inspect.isfunction(value):
            assert value.__doc__ and value.__doc__.strip().endswith((".", ":")), name


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_says_what_lives_in_it(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text and text.splitlines()[0].endswith((".", ":"))
