"""The requests of the public benchmark: 550 prompt tokens of numbers, 150 tokens out, temperature 3, times in seconds.

The benchmark's script downloads its tokenizer from a hub, which not every machine reaches. This test sends the same
requests with the published client, and computes the same figures.
"""

import math

import pytest

from tests.clients.environments import run
from tests.serving import Server, note

pytestmark = pytest.mark.clients

PROMPT_TOKENS = 550
MAX_TOKENS = 150


def tokens(server: Server, text: str) -> list[int]:
    return server.ask("/tokenize", {"prompt": text, "add_special_tokens": False}).json["tokens"]


@pytest.mark.nightly
def test_the_figures_are_finite(one_layer_server: Server) -> None:
    server = one_layer_server
    numbers = tokens(server, " ".join(map(str, range(PROMPT_TOKENS))))[:PROMPT_TOKENS]
    prompt = server.ask("/detokenize", {"tokens": numbers}).json["prompt"]
    inputs = {"port": server.port, "prompt": prompt, "max_tokens": MAX_TOKENS, "concurrency": [1, 4]}
    reported = run("maritalk-0.2.3", "benchmark", inputs)
    for concurrency in (1, 4):
        results = reported[str(concurrency)]
        assert len(results) == concurrency
        generated = [len(tokens(server, result["output"])) for result in results]
        for result, count in zip(results, generated, strict=True):
            assert isinstance(result["generation_time"], float)
            assert 0 < result["generation_time"] < result["wall_time"]
            assert count > 100  # the benchmark ignores shorter answers
        rates = [n / result["generation_time"] for n, result in zip(generated, results, strict=True)]
        wall = max(result["wall_time"] for result in results)
        system = sum(n + PROMPT_TOKENS for n in generated) / wall
        note(f"benchmark, {concurrency} at once: {min(rates):.1f} generated, {system:.1f} in all tokens/s")
        assert all(map(math.isfinite, rates))
