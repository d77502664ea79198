"""Type hints can be resolved at run time, and need no slow imports."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from types import ModuleType
from typing import Any, Iterator, Tuple

import pytest

import amiclient
import amiclient.loopback
import amiproto
import amiproto.messaging
from tests.readme import ROOT


def public_objects(module: ModuleType) -> Iterator[Tuple[str, Any]]:
    """Yield the public classes and functions of a module, and the methods of the classes."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            yield name, value
        if not inspect.isclass(value):
            continue
        for key, member in inspect.getmembers(value):
            member = member.fget if isinstance(member, property) else member
            is_method = inspect.isfunction(member) or inspect.ismethod(member)
            if is_method and (key == "__init__" or not key.startswith("_")):
                yield f"{name}.{key}", member


@pytest.mark.parametrize(
    "module",
    [amiproto, amiproto.messaging, amiclient, amiclient.loopback],
    ids=lambda m: m.__name__,
)
def test_type_hints_of_public_objects_can_be_resolved(module: ModuleType) -> None:
    hints = {name: typing.get_type_hints(value) for name, value in public_objects(module)}
    assert hints
    if module is amiclient:
        assert hints["Client.send_message"]["return"] is amiclient.Receipt
        assert "return" in hints["Client.connected"]


def test_import_of_amiclient_loads_no_slow_modules() -> None:
    # Without site, which may import some of them.
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import amiclient; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code]
    loaded = subprocess.check_output(command, universal_newlines=True).split()
    assert "amiclient" in loaded
    assert not {"ssl", "argparse", "json", "urllib", "dataclasses"} & set(loaded)
