"""Small faults put into both packages, one at a time, and whether the tests notice.

    python3 tests/mutants.py [--jobs N] [--again] [MODULE ...]     such as amiproto.framing

A fault that no test notices says that a test is missing, or that nothing needs the code. Those that
change nothing a program could see are named in ``mutants.txt``, with why. This prints a table, and
ends with 1 where a fault is left that is not named there, or one is named that is not left.

The tool is mutmut, in an environment of its own under ``.mutants``, where the results are kept: a
run that was ended goes on where it was, and later ones test again what has changed. The tests of a
package run, those that are marked ``live`` or ``slow`` left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".mutants"
NAMED = ROOT / "tests" / "mutants.txt"

#: The tests of each package. Those left out look at the source, at its bytecode or at all names,
#: which the tool changes, or at a process that does not find the tool's settings.
TESTS = {
    "amiproto": (
        "tests/codec",
        "--deselect=tests/codec/test_purity.py",
        "--deselect=tests/codec/test_technologies.py"
        "::test_a_new_technology_is_a_file_and_a_place_in_the_registry",
    ),
    "amiclient": (
        "tests/client",
        "tests/command",
        "--deselect=tests/client/test_errors.py::test_public_names_are_sorted_documented_and_there",
        "--deselect=tests/client/test_errors.py::test_public_methods_are_documented",
        "--deselect=tests/client/test_client.py"
        "::test_an_interrupt_while_looking_closes_the_connection",
    ),
}

#: Lines of words for people, which no test fixes letter by letter.
WORDS = r"""^\s*(return |raise \w+\()?f?"[^"]* [^"]* [^"]*"|^\s*help=|^\s*"[^"]+"$"""

SETTINGS = """
[mutmut]
source_paths = {package}
also_copy =
    {other}
    README.rst
    setup.py
do_not_mutate_patterns =
    {words}
type_check_command =
    mypy
    {package}
    --output
    json
    --disable-error-code
    unused-ignore
timeout_multiplier = 4.0
timeout_constant = 3.0
pytest_add_cli_args =
    -q
    -p
    no:cacheprovider
    -m
    not live and not slow
pytest_add_cli_args_test_selection =
    {tests}
"""

#: How mutmut notes that a type checker refuses the fault, that no test failed, or that none ran.
BY_TYPES = 37
SURVIVED = (0, 5, 33)


def prepare(package: str, again: bool) -> None:
    """A copy of the project with mutmut's settings for a package.

    :param again: forget which functions each test calls, as tests have changed.
    """
    folder = WORK / package
    stats = folder / "mutants" / "mutmut-stats.json"
    if again and stats.exists():
        stats.unlink()
    for name in ("amiproto", "amiclient", "tests"):
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.rst", "setup.py"):
        shutil.copy2(ROOT / name, folder / name)
    (other,) = set(TESTS) - {package}
    settings = SETTINGS.format(
        package=package, other=other, words=WORDS, tests="\n    ".join(TESTS[package])
    )
    own = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    (folder / "setup.cfg").write_text(own + settings, encoding="utf-8")


def environment() -> Dict[str, str]:
    """The variables of a process with the tools in front, which are installed once."""
    folder = WORK / "python{}.{}".format(*sys.version_info)
    if not (folder / "bin" / "mutmut").exists():
        venv.create(folder, with_pip=True)
        tools = ["mutmut", "mypy", "pytest", "hypothesis"]
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *tools], check=True)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HYPOTHESIS_PROFILE": "mutants"}


def run(package: str, tools: Dict[str, str], jobs: int, names: List[str]) -> None:
    """Let mutmut test some mutants, or all that it has not tested yet."""
    command = ["mutmut", "run", "--max-children", str(jobs), *names]
    done = subprocess.run(command, cwd=WORK / package, env=tools)
    if done.returncode:
        raise SystemExit(f"mutmut ended with {done.returncode}")


def results(package: str, modules: List[str]) -> Iterator[Tuple[str, str, int]]:
    """Module, mutant and end of those that ran, in some modules or packages, or in all."""
    folder = WORK / package / "mutants"
    for path in sorted((folder / package).rglob("*.py.meta")):
        module = ".".join(path.relative_to(folder).parts)[: -len(".py.meta")]
        if modules and not any(f"{module}.".startswith(f"{name}.") for name in modules):
            continue
        ends = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        for name, end in ends.items():
            if end is not None:
                yield module, name, end


def told(package: str, tools: Dict[str, str], name: str) -> str:
    """A mutant by its function and its lines, which outlive its number."""
    text = subprocess.run(
        ["mutmut", "show", name], cwd=WORK / package, env=tools, stdout=subprocess.PIPE, check=True
    ).stdout.decode()  # fmt: skip
    lines = [line for line in text.split("\n") if not line.startswith(("---", "+++"))]
    before = " ".join([line[1:].strip() for line in lines if line.startswith("-")])
    after = " ".join([line[1:].strip() for line in lines if line.startswith("+")])
    function = re.sub("x_|xǁ", "", name.rpartition("__mutmut_")[0], count=1).replace("ǁ", ".")
    return f"{function} | {before} | {after}"


def tested(package: str, modules: List[str], options: argparse.Namespace) -> Set[str]:
    """Test the mutants of some modules, or of all, and give those left."""
    tools = environment()
    if not options.told:
        prepare(package, options.again)
        # Those that are named are tested whether or not they were before.
        names = [] if package in modules else [f"{module}.*" for module in modules]
        run(package, tools, options.jobs, names)
    found = list(results(package, modules))
    if options.again:
        names = [name for _, name, end in found if end in SURVIVED]
        if names:
            run(package, tools, options.jobs, names)
            found = list(results(package, modules))
    print(f"{'module':40}{'mutants':>8}{'types':>8}{'tests':>8}{'left':>8}")
    for module in sorted({row[0] for row in found}) + [package]:
        ends = [end for name, _, end in found if name == module or module == package]
        types = ends.count(BY_TYPES)
        left = sum(end in SURVIVED for end in ends)
        print(f"{module:40}{len(ends):8}{types:8}{len(ends) - types - left:8}{left:8}")
    survivors = [name for _, name, end in found if end in SURVIVED]
    with ThreadPoolExecutor(options.jobs) as pool:
        return set(pool.map(partial(told, package, tools), survivors))


def equivalent() -> Dict["re.Pattern[str]", str]:
    """What ``mutants.txt`` names, and its line. A star there stands for any text."""
    named = {}
    for line in NAMED.read_text(encoding="utf-8").split("\n"):
        if line.count(" | ") >= 3:
            mutant = line.rpartition(" | ")[0]
            named[re.compile(".*".join(map(re.escape, mutant.split("*"))))] = line
    return named


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--again", action="store_true", help="test those left once more, by tests that have changed"
    )
    parser.add_argument("--told", action="store_true", help="test nothing, tell what is known")
    options = parser.parse_args()
    left: Set[str] = set()
    for package in TESTS:
        modules = [name for name in options.modules if name.split(".")[0] == package]
        if modules or not options.modules:
            left |= tested(package, modules, options)
    named = equivalent()
    unnoticed = [mutant for mutant in left if not any(one.fullmatch(mutant) for one in named)]
    for mutant in sorted(unnoticed):
        print(f"not noticed: {mutant}")
    gone = [one for one in named if not any(map(one.fullmatch, left))]
    if options.modules:
        gone = []
    for one in gone:
        print(f"named in {NAMED.name}, and not left: {named[one]}")
    print(f"{len(left)} left, {len(left) - len(unnoticed)} of them named as equivalent")
    return 1 if gone or unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
