"""The visible behaviour of a start, on the real engine."""

import re
from pathlib import Path

import pytest

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.serving import POLLS, Startup, note

pytestmark = pytest.mark.core

LOADING = {"status": "loading"}


def test_the_port_answers_while_loading(startup: Startup) -> None:
    assert startup.first_status is not None
    assert startup.first_status.json == LOADING
    note(f"the port answered {startup.port_seconds:.2f} s after the process was started")


def test_no_status_request_fails_or_waits_while_loading(startup: Startup) -> None:
    assert len(startup.polls) == POLLS
    assert {poll.status for poll in startup.polls} == {200}
    assert {poll.json["status"] for poll in startup.polls} <= {"loading", "idle", "busy"}
    assert startup.polls[0].json == LOADING
    assert all(set(poll.json) == {"status"} for poll in startup.polls)
    note(f"slowest of {POLLS} status requests while loading: {max(poll.seconds for poll in startup.polls):.3f} s")


def test_a_generation_request_waits_for_the_engine(startup: Startup) -> None:
    assert startup.held is not None
    assert startup.held.status == 200
    assert startup.held.json["output"]


def test_other_routes_answer_503_while_loading(startup: Startup) -> None:
    assert startup.other_route is not None
    assert startup.other_route.status == 503
    assert int(startup.other_route.headers["retry-after"]) >= 1
    assert "loading" in startup.other_route.json["error"]["message"]


def test_stdout_has_the_lines_that_scripts_parse(startup: Startup) -> None:
    text = startup.server.stdout.read_text()
    port = startup.server.port
    stamp = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000\]"
    in_order = [
        r"^Starting MariTalk Local API demo\.\.\.$",
        r"^Plan: the CPU, \d+ cores?, \w+; 0\.[35] GB of weights and 1\.1 GB of KV cache in [\d.]+ GB of memory, for ",
        r"^No NVIDIA GPU was found \(.*\): serving on the CPU\.$",
        r"^vLLM's log: /\S+$",
        r"^✓ Loaded in \d+s$",
        rf"^{stamp} Warming up\.\.\.$",
        r"^Start using MariTalk Local API:$",
        r'^        >>> client\.generate\("What is the capital of Japan\?", do_sample=False\)$',
        rf"^{stamp} Listening on http://0\.0\.0\.0:{port}\n\Z",
    ]
    places = [re.search(pattern, text, re.MULTILINE) for pattern in in_order]
    assert all(places), list(zip(in_order, places, strict=True))
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)


def test_a_service_manager_is_notified_when_the_server_is_ready(startup: Startup) -> None:
    listening = f"READY=1\nSTATUS=Listening on http://0.0.0.0:{startup.server.port}"
    assert startup.notifications == ["STATUS=Loading demo", listening]


def test_stdout_stays_small_and_requests_write_nothing(startup: Startup) -> None:
    server = startup.server
    before = server.stdout.stat().st_size
    assert before < 16 * 1024
    for _ in range(20):
        server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 1})
        server.ask("/generate", {"prompt": ["wrong"]})
        server.ask("/nowhere")
    assert server.stdout.stat().st_size == before
    assert server.stderr.read_text() == ""


def test_no_process_or_log_shows_the_licence(startup: Startup) -> None:
    # The test passes it on the command line, which the process title replaces.
    assert all(EVALUATION_KEY not in command for command in startup.server.processes().values())
    log = re.search(r"vLLM's log: (\S+)", startup.server.stdout.read_text())
    assert log
    assert EVALUATION_KEY not in Path(log[1]).read_text()
