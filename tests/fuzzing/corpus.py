"""The inputs found by coverage-guided fuzzing: a file per target, and a line per input.

An input is written as bytes literals, ``b"x" * 60`` for repetitions, so that diffs are readable.
``corpus.py export TARGET FOLDER`` and ``import TARGET FOLDER`` convert from and to single files.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from pathlib import Path
from typing import Iterable, List

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.fuzzing.targets import TARGETS, seeds  # noqa: E402

FOLDER = Path(__file__).resolve().parent / "corpus"

#: The limits of a file: every test run runs all inputs.
MAX_INPUTS = 250
MAX_BYTES = 45_000

#: Bytes that are repeated at least eight times.
_REPEATED = re.compile(b"(.{1,8}?)\\1{7,}", re.DOTALL)

#: A term of a line: a literal, and the number of repetitions.
_TERM = re.compile(r"""(b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*")(?: \* ([0-9]+))?""")


def load(name: str) -> List[bytes]:
    """Return the inputs of a target."""
    path = FOLDER / f"{name}.txt"
    if not path.exists():
        return []
    return [_bytes_of(line) for line in path.read_text(encoding="ascii").splitlines()]


def save(name: str, inputs: Iterable[bytes]) -> int:
    """Write inputs of a target, shortest first, up to the limits; return their number."""
    lines: List[str] = []
    size = 0
    for line in sorted(set(map(_line_of, inputs)), key=lambda line: (len(line), line)):
        size += len(line) + 1
        if size > MAX_BYTES or len(lines) == MAX_INPUTS:
            break
        lines.append(line)
    FOLDER.mkdir(exist_ok=True)
    text = "".join(line + "\n" for line in lines)
    (FOLDER / f"{name}.txt").write_bytes(text.encode("ascii"))
    return len(lines)


def _line_of(data: bytes) -> str:
    terms: List[str] = []
    position = 0
    for found in _REPEATED.finditer(data):
        if found.start() > position:
            terms.append(ascii(data[position : found.start()]))
        unit = found.group(1)
        terms.append(f"{ascii(unit)} * {len(found.group()) // len(unit)}")
        position = found.end()
    if position < len(data) or not terms:
        terms.append(ascii(data[position:]))
    return " + ".join(terms)


def _bytes_of(line: str) -> bytes:
    data = b""
    for term in _TERM.finditer(line):
        data += ast.literal_eval(term.group(1)) * int(term.group(2) or 1)
    if _line_of(data) != line:
        raise ValueError(f"invalid input: {line}")
    return data


def export(name: str, folder: Path) -> None:
    """Write the initial inputs and the corpus of a target to a folder, and a dictionary."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in [*seeds(name), *load(name)]:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    tokens = ["".join(f"\\x{byte:02x}" for byte in token) for token in TARGETS[name].tokens]
    folder.with_name(folder.name + ".dict").write_text("".join(f'"{t}"\n' for t in tokens))


def main() -> None:
    command, name, folder = sys.argv[1:]
    if command == "export":
        export(name, Path(folder))
    else:
        print(save(name, [path.read_bytes() for path in Path(folder).iterdir()]), "inputs")


if __name__ == "__main__":
    main()
