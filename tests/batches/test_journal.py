"""Results are in the journal whole or not at all, whenever the process is killed."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maritalk_vllm.batches.journal import Journal
from tests.batches.samples import result


def test_a_line_is_as_openai_documents_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out")
    journal.append(result(3))
    journal.close()
    assert json.loads((tmp_path / "out").read_text()) == {
        "id": "batch_req_0123456789abcdef_3",
        "custom_id": "id-3",
        "response": {"status_code": 200, "request_id": "r", "body": {"output": "a"}},
        "error": None,
    }


def test_each_result_is_one_line_however_its_body_is_laid_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out")
    journal.append(result(0, b'{\n "output": "a"\n}'))
    journal.append(result(1))
    assert [json.loads(each)["custom_id"] for each in (tmp_path / "out").read_text().splitlines()] == ["id-0", "id-1"]


@pytest.mark.parametrize("torn", [b"{", b'{"id":"batch_req_0123456789abcdef_2","custom_id":"id-2"', b"\0" * 40, b"?\n"])
def test_a_partial_line_after_a_crash_is_truncated(tmp_path: Path, torn: bytes) -> None:
    file = tmp_path / "out"
    journal = Journal(file)
    journal.append(result(0))
    journal.append(result(5))
    journal.close()
    whole = file.read_bytes()
    file.write_bytes(whole + torn)
    again = Journal(file)
    assert again.done == [0, 5]
    assert file.read_bytes() == whole
    again.append(result(2))
    assert Journal(file).done == [0, 5, 2]


def test_a_full_disk_is_an_error_and_leaves_whole_lines(tmp_path: Path) -> None:
    """Here the file's size has a limit; the kernel writes what fits, and reports the next write."""
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from maritalk_vllm.batches.journal import Journal; from tests.batches.samples import result\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal = Journal(Path(sys.argv[1])); journal.append(result(0))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size + 20, journal.size + 20))\n"
        "try: journal.append(result(1))\n"
        "except OSError as error: print(error.errno)"
    )
    file = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=True)
    assert int(done.stdout) == errno.EFBIG
    assert file.read_bytes().endswith(b"}\n")
    assert Journal(file).done == [0]


def test_no_line_is_lost_or_doubled_by_kills(tmp_path: Path) -> None:
    """A process writes all lines that are not done, and is killed at random moments until one gets to the end."""
    program = (
        "import sys; from pathlib import Path\n"
        "from maritalk_vllm.batches.journal import Journal; from tests.batches.samples import result\n"
        "journal = Journal(Path(sys.argv[1])); done = set(journal.done); print(len(done), flush=True)\n"
        "for index in range(3000):\n"
        "    if index not in done: journal.append(result(index, b'\"%s\"' % (b'x' * 3000)))"
    )
    file, chance = tmp_path / "out", random.Random(7)
    counts, killed = [], 0
    while True:
        with subprocess.Popen([sys.executable, "-c", program, file], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            counts.append(int(process.stdout.readline()))
            time.sleep(chance.uniform(0.0, 0.03))
            if process.poll() is not None:
                break
            if killed == 8:
                assert process.wait(60) == 0
                break
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
    assert counts == sorted(counts)
    assert sorted(Journal(file).done) == list(range(3000))
    assert [json.loads(each)["custom_id"] for each in file.read_text().splitlines()] == [
        f"id-{index}" for index in range(3000)
    ]
