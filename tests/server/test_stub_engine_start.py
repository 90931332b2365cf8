"""A start with a stub engine: requests wait and are handed over; a failed start reports its cause to all."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.server.test_stop import assert_nothing_left
from tests.service_manager import service_manager
from tests.stub_engine.script import flags
from tests.stub_engine.server import StubServer

PROMPT = {"prompt": "1 2 3", "max_tokens": 2}


@pytest.mark.core
def test_requests_wait_while_a_stub_engine_loads(tmp_path: Path) -> None:
    """The status answers meanwhile: it would not if the port were handed over before the engine is ready."""
    with StubServer(tmp_path, loading=["wait 1.5"]) as server, ThreadPoolExecutor() as pool:
        server.wait_for_port()
        held = pool.submit(server.ask, "/generate", PROMPT)
        server.wait_until_reached("loading")
        assert server.ask("/", timeout=1).json == {"status": "loading"}
        assert server.ask("/readyz", timeout=1).status == 503
        rejected = server.ask("/v1/models", timeout=1)
        assert (rejected.status, rejected.headers["retry-after"]) == (503, "1")
        assert not held.done()
        server.wait_until_ready()
        assert (held.result().status, held.result().json["output"]) == (200, "token token")
        assert server.ask("/readyz").status == 200
        assert server.ask("/").json == {"status": "idle"}
        moments = [each.stage for each in (*server.reached("importing"), *server.reached("loading"))]
        assert moments == ["importing", "loading"]


def test_the_hand_over_to_a_stub_engine_loses_no_request(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["wait 0.5"]) as server, ThreadPoolExecutor(8) as pool:
        server.wait_for_port()

        ready = threading.Event()

        def ask() -> list[int]:
            """Send requests before, during and after the hand-over."""
            seen = []
            while not ready.is_set():
                seen.append(server.ask("/generate", PROMPT).status)
            return [*seen, server.ask("/generate", PROMPT).status]

        clients = [pool.submit(ask) for _ in range(8)]
        server.wait_until_ready()
        ready.set()
        statuses = [status for client in clients for status in client.result()]
        assert statuses == [200] * len(statuses)
        assert len(statuses) >= 16


TOO_LONG = (
    "fail To serve at least one request with the model's max seq len (8192), (2.0 GiB KV cache is needed, which is "
    "larger than the available KV cache memory (1.0 GiB). Based on the available memory, the estimated maximum model "
    "length is {length}."
)
"""The message of vLLM 0.32 (v1/core/kv_cache_utils.py)."""


def test_a_start_with_too_long_a_context_is_repeated_with_what_fits(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=[TOO_LONG.format(length=5008), "go"]) as server, ThreadPoolExecutor() as pool:
        server.wait_for_port()
        held = pool.submit(server.ask, "/generate", PROMPT)
        server.wait_until_ready()
        assert held.result().status == 200
        assert flags(tmp_path)[-2:] == ["--max-model-len", "5008"]
        assert (
            "vLLM failed to start: one request of 8192 tokens needs 2.0 GiB of KV cache, and 1.0 GiB are available: "
            "starting it again with --max-model-len 5008." in server.stdout.read_text()
        )
        assert len(server.reached("loading")) == 2
        assert len(server.reached("importing")) == 1


@pytest.mark.parametrize(
    ("arguments", "lengths", "starts"),
    [
        (["--max-model-len", "8192"], [5008], 1),
        ([], [4080], 1),
        ([], [5008, 4992], 2),
    ],
)
def test_a_start_is_not_repeated_for_the_users_length_for_a_tiny_one_or_twice(
    tmp_path: Path, arguments: Sequence[str], lengths: Sequence[int], starts: int
) -> None:
    loading = [TOO_LONG.format(length=length) for length in lengths]
    with StubServer(tmp_path, *arguments, loading=loading) as server:
        assert server.process.wait(timeout=30) == 7
        assert f"Serve shorter ones: --max-model-len {lengths[-1]}." in server.stderr.read_text()
        assert len(server.reached("loading")) == starts


@pytest.mark.parametrize(
    ("actions", "exit_code", "says"),
    [
        ({"importing": ["wait 1; fail No torch."]}, 7, "vLLM cannot be imported: ValueError: No torch."),
        (
            {"importing": ["wait 1; fail libcuda.so.1: cannot open shared object file: No such file or directory"]},
            4,
            "vLLM cannot be imported: the NVIDIA driver's library libcuda.so.1 is missing. In a container, start it",
        ),
        ({"importing": ["wait 1; die"]}, 7, "The engine's processes ended unexpectedly. vLLM's log says why: /"),
        ({"preparing": ["die"]}, 7, "The process that was to prepare the model was killed by SIGKILL. vLLM's log"),
        ({"parsing": ["refuse There is no flag --nonsense."]}, 2, "There is no flag --nonsense."),
        ({"loading": ["fail No room for 24 GiB."]}, 7, "vLLM failed to start: No room for 24 GiB. Its log: /"),
        (
            {"loading": ["fail Error 802: system not yet initialized"]},
            4,
            "vLLM failed to start: the NVSwitch that connects the GPUs is not initialized: NVIDIA Fabric Manager does",
        ),
        ({"loading": ["die"]}, 7, "The process that was to run the model was killed by SIGKILL. vLLM's log says why"),
        ({"loading": ["exit 3"]}, 7, "The process that was to run the model ended with 3. vLLM's log says why: /"),
        ({"warming_up": ["fail No kernel image."]}, 7, "vLLM failed to start: No kernel image. Its log: /"),
        (
            {"warming_up": ["fail CUDA error: an illegal memory access was encountered"]},
            7,
            "vLLM failed to start: a kernel failed on a GPU, which is a bug of vLLM or a defect of the GPU. Try",
        ),
        (
            {"warming_up": ["kill-engine"]},
            7,
            "vLLM failed to start: the engine's process was killed by SIGKILL. Memory may have run out: dmesg says",
        ),
    ],
)
def test_a_failed_start_of_a_stub_engine_reports_its_cause(
    tmp_path: Path, actions: dict[str, Sequence[str]], exit_code: int, says: str
) -> None:
    """In one sentence, to the user, the service manager and waiting clients. One attempt, and no process remains."""
    (moment,) = actions
    with (
        service_manager(str(tmp_path / "notify")) as manager,
        # The start fails only once a request waits.
        StubServer(tmp_path, **{"importing": ["wait 1"], **actions}) as server,
        ThreadPoolExecutor() as pool,
    ):
        server.wait_for_port()
        held = pool.submit(server.ask, "/generate", PROMPT)
        assert server.process.wait(timeout=30) == exit_code
        answer = held.result()
        error = server.stderr.read_text()
        assert error.startswith(f"maritalk-serve: {says}")
        assert error.count("\n") == 1
        assert answer.status == 503
        assert error == f"maritalk-serve: {answer.json['error']}\n"
        _, notified = manager.received()
        assert notified.startswith("STOPPING=1\nSTATUS=")
        assert len(server.reached(moment)) == 1
        assert "starting it again" not in server.stdout.read_text()
        assert_nothing_left(server)
