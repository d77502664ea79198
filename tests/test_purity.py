"""The codec does no I/O, knows no clock and no thread, and lives in any folder."""

from __future__ import annotations

import ast
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, Set, Tuple

import pytest

import amiproto

PACKAGE = Path(amiproto.__file__).resolve().parent
SOURCES = sorted(PACKAGE.glob("*.py"))

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
    assert {f"amiproto.{path.stem}" for path in SOURCES if path.stem != "__init__"} <= set(new)
    # All of it comes with Python.
    assert {name.partition(".")[0] for name in new} - {"amiproto"} <= standard_library()


def standard_library() -> Set[str]:
    names = getattr(sys, "stdlib_module_names", None)  # since Python 3.10
    if names is None:
        folder = Path(inspect.__file__).parent
        names = {path.stem for path in folder.iterdir()} | set(sys.builtin_module_names)
        names |= {path.name.partition(".")[0] for path in folder.glob("lib-dynload/*")}
    return set(names)


def imports(path: Path) -> Iterator[Tuple[int, str]]:
    """Every import of a module, wherever it stands: its level and the module's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_module_imports_its_neighbours_and_pure_modules(path: Path) -> None:
    for level, name in imports(path):
        top = name.partition(".")[0]
        if level:
            assert level == 1 and (PACKAGE / f"{top}.py").exists(), name
        else:
            assert top not in IMPURE and top != "amiproto" and top in standard_library(), name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_module_calls_nothing_that_does_io(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"line {node.lineno}"


def test_modules_are_read_leaves_first_and_in_no_circle() -> None:
    needs = {
        path.stem: {name for level, name in imports(path) if level}
        for path in SOURCES
        if path.stem != "__init__"
    }
    read: List[str] = []
    while needs:
        ready = sorted(name for name, wanted in needs.items() if wanted <= set(read))
        assert ready, f"a circle among {sorted(needs)}"
        for name in ready:
            del needs[name]
        read += ready


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


def test_its_folder_works_under_another_name_inside_another_package(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    shutil.copytree(PACKAGE, outer / "vendored_ami", ignore=shutil.ignore_patterns("__pycache__"))
    (outer / "__init__.py").write_text("")
    assert python(USE, str(tmp_path)) == (
        "Message successfully sent outer.vendored_ami.message_send\n"
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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_module_says_what_lives_in_it(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text and text.splitlines()[0].endswith((".", ":"))
