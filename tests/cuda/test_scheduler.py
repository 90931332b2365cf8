"""Our scheduler, which sends outputs later, beside vLLM's own: the same tokens and counters for the same requests."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cuda.host import CudaServer, Host
from tests.cuda.test_requests import tokens_of

pytestmark = pytest.mark.cuda

SCHEDULERS = {"ours": (), "vLLM's": ("--scheduler-cls", "vllm.v1.core.sched.async_scheduler.AsyncScheduler")}
SMALL_KV_CACHE = ("--num-gpu-blocks-override", "256")
"""Of 16 tokens each, fewer than the requests that run at once need: vLLM preempts some and computes them again."""

REQUESTS = 144
COUNTED = ("generation_tokens_total", "prompt_tokens_total", "request_success_total")


def ask(server: CudaServer, number: int) -> list[int]:
    """The tokens of one answer. The length of prompt and answer, and whether it is streamed, depend on `number`."""
    body = {
        "prompt": f"{number} " + "palavra " * number,
        "max_tokens": 20 + number,
        "ignore_eos": True,
        "return_token_ids": True,
    }
    if number % 2:
        events = server.streamed("/v1/completions", body)
        choices = [choice for event in events for choice in event["choices"]]
    else:
        answer = server.ask("/v1/completions", body)
        assert answer.status == 200, answer.body
        choices = answer.json["choices"]
    tokens = [token for choice in choices for token in choice["token_ids"] or ()]
    assert tokens == tokens_of(choices[0]["prompt_token_ids"], 20 + number)
    return tokens


def ask_all(server: CudaServer) -> tuple[list[list[int]], dict[str, float]]:
    """The tokens of all answers, and what vLLM counted meanwhile."""
    before = server.counters()
    with ThreadPoolExecutor(48) as pool:
        answers = list(pool.map(lambda number: ask(server, number), range(REQUESTS)))
    after = server.counters()
    assert after["vllm:num_preemptions_total"] > before["vllm:num_preemptions_total"]
    return answers, {name: after[f"vllm:{name}"] - before[f"vllm:{name}"] for name in COUNTED}


def test_our_scheduler_serves_as_vllms(host: Callable[[str], Host], split_model: Path, tmp_path: Path) -> None:
    found = {}
    for name, scheduler in SCHEDULERS.items():
        (folder := tmp_path / name).mkdir()
        engine = (*SMALL_KV_CACHE, *scheduler)
        server = CudaServer(host("A100"), folder, "--model", str(split_model), engine=engine)
        try:
            server.wait_until_ready()
            found[name] = ask_all(server)
        finally:
            server.stop()
    assert found["ours"] == found["vLLM's"]
    answers, counts = found["ours"]
    assert counts["generation_tokens_total"] == sum(map(len, answers))
    assert counts["request_success_total"] == REQUESTS
