"""The README's examples, as type checkers see them in a user's editor."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import List

import pytest

#: What the examples leave to their reader.
_GIVEN = """from typing import List, Callable
names: List[str] = []
pause: Callable[[], None]
"""

_ROOT = Path(__file__).resolve().parent.parent


def _blocks() -> List[str]:
    text = (_ROOT / "README.rst").read_text(encoding="utf-8")
    found = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text)
    # Celery has no types, so that nothing can be told of what its decorators make.
    return [textwrap.dedent(block) for block in found if "from celery" not in block]


@pytest.mark.parametrize(
    ("checker", "options"),
    [
        ("mypy", ["--strict", "--no-error-summary"]),
        ("pyright", ["--pythonpath", sys.executable]),
    ],
    ids=["mypy", "pyright"],
)
def test_every_example_is_typed(checker: str, options: List[str], tmp_path: Path) -> None:
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"needs {checker}")
    for package in ("amiproto", "amiclient"):
        (tmp_path / package).symlink_to(_ROOT / package)
    # One file, as what an example goes on from is in one before it.
    text = "\n\n".join([_GIVEN, *_blocks()])
    (tmp_path / "examples.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", checker, *options, "examples.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stdout
