"""The code blocks of the README, for the tests that run them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")


def blocks(language: str) -> List[str]:
    """Return every block of a language, in order, without its indentation."""
    pattern = rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)"
    found = re.findall(pattern, README, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") + "\n" for block in found]


def block(language: str, part: str) -> str:
    """Return the only block of a language that contains this text."""
    (found,) = [text for text in blocks(language) if part in text]
    return found


def run(text: str, **names: Any) -> Dict[str, Any]:
    """Run a Python block with these global names, and return its global names."""
    exec(compile(text, "README.rst", "exec"), names)
    return names
