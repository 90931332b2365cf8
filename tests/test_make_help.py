"""`make help` prints the head of the Makefile, which lists targets that exist."""

import re
import subprocess

from tests.documents.pages import ROOT, make_targets


def test_help_lists_targets_of_the_makefile() -> None:
    command = ["make", "--no-print-directory", "help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    listed = set(re.findall(r"^make (?:[A-Z]+=\S+ )?([a-z-]+)", result.stdout, re.MULTILINE))
    assert {"serve", "test", "help"} <= listed <= make_targets()
