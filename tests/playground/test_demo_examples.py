"""The demo model gives the answers that the page and the startup banner show with their examples."""

import re

from maritalk_vllm.playground.static_files import STATIC
from maritalk_vllm.server.startup.console import DEMO_BANNER
from tests.serving import Server

EXAMPLES = (STATIC / "js" / "examples.js").read_text()


def test_demo_model_gives_the_expected_answers_of_the_page(shared_server: Server) -> None:
    examples = re.findall(r'question: "(.+)", answer: "(.+)"', EXAMPLES)
    assert len(examples) == 4
    for question, expected in examples:
        messages = [{"role": "user", "content": question}]
        answer = shared_server.ask("/chat/generate", {"messages": messages, "do_sample": False}).json
        assert " ".join(answer["output"].split()) == expected


def test_demo_model_gives_the_expected_class_of_the_film_review(shared_server: Server) -> None:
    ((prompt, expected),) = re.findall(r'DEMO_FILM_REVIEWS.*?`(.*?)`.*?answer: "(.+?)"', EXAMPLES, re.DOTALL)
    body = {"prompt": prompt, "max_tokens": 2, "do_sample": False}
    assert shared_server.ask("/generate", body).json["output"].strip() == expected


def test_demo_model_gives_the_answer_of_the_banner(shared_server: Server) -> None:
    found = re.findall(r"""generate\("(.+)", do_sample=False\)\n.*'output': '(.+?)'""", DEMO_BANNER)
    ((question, expected),) = found
    messages = [{"role": "user", "content": question}]
    answer = shared_server.ask("/chat/generate", {"messages": messages, "do_sample": False}).json
    assert answer["output"] == expected
