"""The demo model gives the answers that the page and the start's banner show beside their examples."""

import re

from maritalk_vllm.playground.static_files import STATIC
from maritalk_vllm.server.startup.console import DEMO_BANNER
from tests.serving import Server

EXAMPLES = (STATIC / "js" / "examples.js").read_text()


def test_the_demo_model_answers_the_page_s_examples_like_this(shared_server: Server) -> None:
    examples = re.findall(r'question: "(.+)", answer: "(.+)"', EXAMPLES)
    assert len(examples) == 4
    for question, expected in examples:
        messages = [{"role": "user", "content": question}]
        answer = shared_server.ask("/chat/generate", {"messages": messages, "do_sample": False}).json
        assert " ".join(answer["output"].split()) == expected


def test_the_demo_model_classifies_the_page_s_film_review_like_this(shared_server: Server) -> None:
    ((prompt, expected),) = re.findall(r'DEMO_FILM_REVIEWS.*?`(.*?)`.*?answer: "(.+?)"', EXAMPLES, re.DOTALL)
    body = {"prompt": prompt, "max_tokens": 2, "do_sample": False}
    assert shared_server.ask("/generate", body).json["output"].strip() == expected


def test_the_demo_model_answers_as_in_the_banner(shared_server: Server) -> None:
    found = re.findall(r"""generate\("(.+)", do_sample=False\)\n.*'output': '(.+?)'""", DEMO_BANNER)
    ((question, expected),) = found
    messages = [{"role": "user", "content": question}]
    answer = shared_server.ask("/chat/generate", {"messages": messages, "do_sample": False}).json
    assert answer["output"] == expected
