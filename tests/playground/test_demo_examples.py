"""The demo model gives the answers that the page and the startup banner show with their examples."""

import re

from maritalk_vllm.playground.static_files import STATIC
from maritalk_vllm.server.startup.console import DEMO_BANNER
from maritalk_vllm.server.startup.console import EXAMPLES as CONSOLE_EXAMPLES
from tests.serving import Server

EXAMPLES = (STATIC / "js" / "examples.js").read_text()
MIN_MARGIN = 0.15
"""Of logprobs, which differ by about 0.1 between processors: they compute in float32 or bfloat16, in other orders."""


def ask(server: Server, question: str) -> str:
    """The answer to a question, each token of which is clearly the most probable."""
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "logprobs": True, "top_logprobs": 2}
    (choice,) = server.ask("/v1/chat/completions", body).json["choices"]
    for token in choice["logprobs"]["content"]:
        first, second = (each["logprob"] for each in token["top_logprobs"])
        assert first - second > MIN_MARGIN, (question, token)
    answer = server.ask("/chat/generate", {"messages": body["messages"], "do_sample": False}).json["output"]
    assert answer == choice["message"]["content"].strip()
    return str(answer)


def test_demo_model_gives_the_expected_answers_of_the_page(shared_server: Server) -> None:
    examples = re.findall(r'question: "(.+)", answer: "(.+)"', EXAMPLES)
    assert len(examples) == 4
    for question, expected in examples:
        assert " ".join(ask(shared_server, question).split()) == expected


def test_demo_model_gives_the_expected_class_of_the_film_review(shared_server: Server) -> None:
    ((prompt, expected),) = re.findall(r'DEMO_FILM_REVIEWS.*?`(.*?)`.*?answer: "(.+?)"', EXAMPLES, re.DOTALL)
    body = {"prompt": prompt, "max_tokens": 2, "do_sample": False}
    assert shared_server.ask("/generate", body).json["output"].strip() == expected


def test_demo_model_gives_the_answer_of_the_banner(shared_server: Server) -> None:
    found = re.findall(r"""generate\("(.+)", do_sample=False\)\n.*'output': '(.+?)'""", DEMO_BANNER)
    ((question, expected),) = found
    assert CONSOLE_EXAMPLES[True] == (question, expected)
    assert ask(shared_server, question) == expected
