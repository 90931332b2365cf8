"""Apply each mutation to a copy of the code, and run the tests that must fail: `python -m tests.mutations [WORD]`.

With a word, only the mutations whose description contains it. Exits with 1 if a mutation survives or cannot be made.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutations.table import MUTATIONS, ROOT, Mutation

_LEFT_OUT = shutil.ignore_patterns(".venv", ".git", ".*cache", "__pycache__", "dist", "build", "node_modules")
_TIMEOUT_SECONDS = 600
"""Longer than the deadlines that the tests themselves have."""

_SECONDS_PER_TEST = 15
"""More than a test of the stub engine takes on a busy machine."""


class Unclear(Exception):
    """The tests' result does not show whether they notice a mutation."""


def run(copy: Path, tests: Iterable[str], timeout: float = _TIMEOUT_SECONDS) -> str | None:
    """Return the first test that fails, None if all pass. Raises Unclear, after `timeout` seconds as well."""
    # No bytecode: Python considers it current if a file changes twice within a second and keeps its length.
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    process = subprocess.Popen(
        [*command, *(f"tests/server/{test}" for test in tests)],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise Unclear(f"no end within {timeout:.0f} s") from None
    if process.returncode == 0:
        return None
    if found := re.search(r"^FAILED tests/server/(.+?)(?: - .*)?$", output, re.MULTILINE):
        return found[1]
    raise Unclear(output[-2000:])


@contextmanager
def made(copy: Path, mutation: Mutation) -> Iterator[None]:
    """Apply a mutation to the copy, and revert it at the end. Raises Unclear."""
    file = copy / mutation.file
    text = file.read_text()
    if (times := text.count(mutation.old)) != 1:
        raise Unclear(f"the text to change is {times} times in {mutation.file}")
    file.write_text(text.replace(mutation.old, mutation.new))
    try:
        yield
    finally:
        file.write_text(text)


def main(word: str = "") -> int:
    chosen = [mutation for mutation in MUTATIONS if word in mutation.why]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="maritalk-mutations-") as folder:
        copy = Path(folder) / "code"
        shutil.copytree(ROOT, copy, ignore=_LEFT_OUT, symlinks=True)
        tests = dict.fromkeys(test for mutation in chosen for test in mutation.tests)
        if failed := run(copy, tests, _TIMEOUT_SECONDS + len(tests) * _SECONDS_PER_TEST):
            print(f"Without any mutation {failed} fails: nothing can be said.")
            return 1
        for mutation in chosen:
            try:
                with made(copy, mutation):
                    caught = run(copy, mutation.tests)
            except Unclear as why:
                caught, result = None, f"unclear: {why}"
            else:
                result = f"caught by {caught}" if caught else "SURVIVED"
            survived += caught is None
            print(f"{mutation.why:<60} {result}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutations were caught.")
    return 1 if survived or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
