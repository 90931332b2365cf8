"""The first cause of a failed start, found in vLLM's log."""

from pathlib import Path

from maritalk_vllm.engine.failure import first_cause

LOG = """\
(serve pid=1) INFO 11-23 11:46:20 [core.py:1] ValueError: not an error, a quotation
(Worker pid=3) ERROR 11-23 11:46:25 [multiproc_executor.py:900] Traceback (most recent call last):
(Worker pid=3) ERROR 11-23 11:46:25 [multiproc_executor.py:900] ValueError: No room for the weights: 24 GiB.
(EngineCore pid=2) ERROR 11-23 11:46:26 [core.py:1510] Exception: WorkerProc initialization failed due to an exception.
(serve pid=1) ERROR 11-23 11:46:27 [x.py:1] RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_the_first_error_that_is_not_about_another(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG)
    assert first_cause(log) == "No room for the weights: 24 GiB."


def test_none_without_one(tmp_path: Path) -> None:
    assert first_cause(tmp_path / "missing") is None
