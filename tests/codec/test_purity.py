"""The codec does no I/O, uses no clock and no threads, and can be copied into another package."""

from __future__ import annotations

import ast
import doctest
import gc
import importlib
import inspect
import re
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, List

import pytest

import amiproto
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from amiproto import Action, Banner, Connection, Event, LocalProtocolError, MessageSend, Role

PACKAGE = Path(amiproto.__file__).resolve().parent

#: Modules that read, write, wait, know the time, or start threads; and those that import others.
IMPURE = {
    "asyncio", "concurrent", "ctypes", "datetime", "http", "importlib", "io", "logging",
    "multiprocessing", "os", "pathlib", "queue", "random", "sched", "secrets", "select",
    "selectors", "signal", "socket", "socketserver", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "_thread", "_socket", "_ssl",
}  # fmt: skip
#: Builtins that do the same.
IMPURE_CALLS = {"open", "print", "input", "__import__", "eval", "exec"}


def name_of(path: Path) -> str:
    """Return the name of a module within the package, such as "messaging.pjsip"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}

in_every_module = pytest.mark.parametrize("name", SOURCES)


def import_module(name: str) -> ModuleType:
    return importlib.import_module(f"amiproto.{name}".rstrip("."))


def absolute_imports(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level names of all absolute imports, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


@in_every_module
def test_modules_import_only_pure_modules_of_the_standard_library(name: str) -> None:
    imported = set(absolute_imports(TREES[name]))
    assert not imported & IMPURE and "amiproto" not in imported
    assert imported <= set(getattr(sys, "stdlib_module_names", imported))  # Python 3.10
    for value in vars(import_module(name)).values():
        origin = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
        assert str(origin).partition(".")[0] not in IMPURE


@in_every_module
def test_modules_call_no_function_that_does_io(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"line {node.lineno}"


@in_every_module
def test_modules_use_no_private_names_of_others(name: str) -> None:
    nodes = list(ast.walk(TREES[name]))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    own |= {"_asdict", "_fields", "_replace"}  # public in a NamedTuple
    own |= {
        node.attr for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }  # fmt: skip
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            assert node.attr in own or node.attr.endswith("__"), f"line {node.lineno}"
        elif isinstance(node, ast.ImportFrom):
            assert not any(alias.name.startswith("_") for alias in node.names), node.lineno


@pytest.mark.slow
def test_rejected_values_are_not_kept_in_memory() -> None:
    def reject(number: int) -> None:
        text = f"{number}".ljust(1_000_000, "x")
        calls: List[Callable[[], object]] = [
            lambda: MessageSend(f"sip:alice@host {text}", ""),
            lambda: MessageSend("pjsip:alice", "", from_=text + "\n"),
            lambda: MessageSend("pjsip:alice", text),
            lambda: MessageSend("pjsip:alice", "", variables={text: "x", text + " ": "y"}),
            lambda: MessageSend("pjsip:alice", "", variables={"X": text}),
            lambda: Action("X", {text: "a\nb"}),
            lambda: Action("X", action_id=text),
        ]
        for call in calls:
            with pytest.raises(LocalProtocolError):
                call()

    reject(0)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, 11):
            reject(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


VENDORED = """
import sys
sys.path.insert(0, sys.argv[1])
import outer.vendored_ami as ami
assert not any(name.split(".")[0] in ("amiproto", "socket", "ssl") for name in sys.modules)

server = ami.Connection(ami.Role.SERVER)
server.send(ami.Banner("11.0.0"))
sent = ami.MessageSend("pjsip:alice", "two\\nlines", variables={"X-A": 'a,"b"'})
server.receive_data(sent.wire)
(action,) = iter(server.next_event, ami.NEED_DATA)
assert ami.parse_message_send(action) == sent
import pickle
assert pickle.loads(pickle.dumps(sent)) == sent
print(type(sent).__module__)
"""


def test_the_codec_works_as_a_copy_inside_another_package(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    shutil.copytree(PACKAGE, outer / "vendored_ami", ignore=shutil.ignore_patterns("__pycache__"))
    (outer / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", VENDORED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert (done.stderr, done.stdout) == ("", "outer.vendored_ami.messaging.message\n")


# ---- public names and documentation ----


def test_all_lists_the_imported_names_in_order() -> None:
    imported = {
        alias.name
        for node in TREES[""].body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert amiproto.__all__ == sorted(imported)


@in_every_module
def test_modules_and_their_public_names_are_documented(name: str) -> None:
    module = import_module(name)
    for found in doctest.DocTestFinder(exclude_empty=False).find(module):
        member = found.name[len(module.__name__) :]
        assert "._" in member or (found.docstring or "").strip(), found.name


@in_every_module
def test_examples_in_docstrings_give_the_documented_results(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_the_usage_in_the_docstring_works() -> None:
    blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", amiproto.__doc__ or "")
    session_usage, proxy_usage = map(textwrap.dedent, blocks)
    arguments = '"127.0.0.1", 5038, "user", "secret"'
    assert session_usage.count(arguments) == 1
    with LoopbackServer() as server:
        names: Dict[str, Any] = {"arguments": (server.host, server.port, USERNAME, SECRET)}
        exec(session_usage.replace(arguments, "*arguments"), names)
        assert names["response"].name == "Success"
        assert [message.body for message in server.messages] == [b"Hello"]

    exec(proxy_usage, names)
    relay, client_side, server_side = names["relay"], names["client_side"], names["server_side"]
    server_peer, event = Connection(Role.SERVER), Event("X").wire
    banner = server_peer.send(Banner("11.0.0"))
    assert relay(banner[:9], server_side, client_side) == b""
    assert relay(banner[9:] + event, server_side, client_side) == banner + event
    assert relay(Action("Ping").wire, client_side, server_side) == Action("Ping").wire
