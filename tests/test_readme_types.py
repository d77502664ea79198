"""The README's examples, as type checkers see them in a user's editor."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from tests.readme import ROOT, blocks

#: What the examples leave to their reader.
_GIVEN = """from typing import List, Callable
names: List[str] = []
pause: Callable[[], None]
"""


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
        (tmp_path / package).symlink_to(ROOT / package)
    # One file, as what an example goes on from is in one before it.
    # Celery has no types, so that nothing can be told of what its decorators make.
    examples = [text for text in blocks("python") if "from celery" not in text]
    text = "\n\n".join([_GIVEN, *examples])
    (tmp_path / "examples.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", checker, *options, "examples.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stdout
