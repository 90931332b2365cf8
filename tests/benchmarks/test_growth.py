"""A growing load: its ratios, its loads and keys, and a table of what was run only."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.growth import WARMING_REQUESTS, WIRES, Growth, Ratio, Row, Server, key_names, ratios, table, totals
from benchmarks.load_order import LoadSpec
from benchmarks.targets import Ours
from maritalk_vllm.server.middleware.api_keys import SHORTEST, read_key_file

ROW = Row(
    wire=WIRES[0],
    users=64,
    keys=0,
    total=100,
    requests=90,
    requests_per_second=100,
    api_cpu_ms=2,
    other_cpu_ms=1,
    first_token_p50_ms=None,
    first_token_p99_ms=None,
    api_rss_mb=200,
    api_pss_mb=100,
    all_rss_mb=2000,
)
USERS = [
    replace(ROW, wire=wire, users=users, api_cpu_ms=cpu)
    for users, cpu in ((1, 9.0), (64, 2.0), (512, 3.0))
    for wire in WIRES
]
KEYS = [replace(ROW, keys=keys, api_cpu_ms=cpu) for keys, cpu in ((1, 2.0), (10, 2.0), (1000, 5.0))]
REQUESTS = [
    replace(ROW, total=total, api_cpu_ms=cpu, api_rss_mb=api, all_rss_mb=everything)
    for total, cpu, api, everything in (
        (1, 50, 100, 1000),
        (1000, 4, 200, 2000),
        (10_000, 2, 210, 2200),
        (100_000, 3, 300, 2500),
    )
]


def test_ratios_are_of_the_largest_number() -> None:
    assert ratios(Growth(USERS, KEYS, REQUESTS, "")) == [
        Ratio("API CPU a request, generate, 512 users / 64", 1.5),
        Ratio("API CPU a request, openai-chat-stream, 512 users / 64", 1.5),
        Ratio("API CPU a request, 1000 keys / 1", 2.5),
        Ratio("API CPU a request, load that ends at 100000 requests / 10000", 1.5),
        Ratio("RSS of the API process after 100000 requests / 1000", 1.5),
        Ratio("RSS of all processes after 100000 requests / 1000", 1.25),
    ]


def test_a_ratio_needs_both_loads() -> None:
    assert ratios(Growth([], [], [], "")) == []
    # No load of 64 users, none of several keys, and none after 1,000 requests.
    assert ratios(Growth([*USERS[:2], *USERS[4:]], KEYS[:1], REQUESTS[:2], "")) == []
    assert [each.ratio for each in ratios(Growth(USERS[:4], [], REQUESTS[:3], ""))] == [
        "RSS of the API process after 10000 requests / 1000",
        "RSS of all processes after 10000 requests / 1000",
    ]


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1]), (99, [1, 10, 99]), (100, [1, 10, 100]), (250, [1, 10, 100, 250])]
)
def test_loads_end_at_powers_of_ten_and_the_last(most: int, expected: list[int]) -> None:
    assert totals(most) == expected


def test_only_loads_that_were_run_have_a_table() -> None:
    lines = table(Growth([], KEYS[:1], [], "Nothing else ran."))
    assert lines[0].startswith("| wire | users | keys | total | requests | requests per second | api cpu ms |")
    assert lines[2:] == [
        "| generate | 64 | 1 | 100 | 90 | 100 | 2 | 1 |  |  | 200 | 100 | 2000 |",
        "",
        "Nothing else ran.",
    ]


def test_keys_are_those_of_a_key_file(tmp_path: Path) -> None:
    keys = key_names(1000)
    (tmp_path / "keys").write_text("\n".join(keys))
    read = read_key_file(tmp_path / "keys")
    assert len(read.keys) == 1000
    assert not read.warnings
    assert min(map(len, keys)) > SHORTEST


@pytest.mark.parametrize(
    ("keys", "expected"), [((), [None] * 5), (("a", "b"), ["Bearer a", "Bearer b", "Bearer a", "Bearer b", "Bearer a"])]
)
def test_requests_take_the_keys_in_turn(keys: tuple[str, ...], expected: list[str | None]) -> None:
    async def load() -> list[str | None]:
        async with running() as target:
            await target.checked(LoadSpec(wire="generate", users=1, requests=5, max_tokens=2, keys=keys))
        return target.authorizations

    assert asyncio.run(load()) == expected


def test_loads_follow_each_other_on_one_server() -> None:
    async def loads() -> None:
        async with running() as target:
            server = Server(target)
            rows = await server.by_requests(12)
            assert [(row.total, row.requests) for row in rows] == [(1, 1), (10, 9), (12, 2)]
            rows = await server.by_users([1, 2], 20, 4)
            assert [(row.wire, row.users, row.requests) for row in rows] == [
                (wire, users, requests) for users, requests in ((1, 20), (2, 32)) for wire in WIRES
            ]
            assert rows[-1].total == len(target.authorizations) == 12 + 2 * WARMING_REQUESTS + 2 * 20 + 2 * 32
            for row in rows:
                assert (row.first_token_p99_ms is not None) == (row.wire != "generate")
                assert row.api_cpu_ms > 0
                assert 0 < row.api_pss_mb <= row.api_rss_mb <= row.all_rss_mb
            assert len(server.measured) == 3 + 4

    asyncio.run(loads())


def test_every_key_was_used_before_it_is_measured() -> None:
    async def load() -> tuple[Row, list[str | None]]:
        async with running() as target:
            return await Server(target, key_names(300)).by_keys(600), target.authorizations

    row, authorizations = asyncio.run(load())
    assert (row.keys, row.requests, row.total) == (300, 600, 900)
    assert set(Counter(authorizations).values()) == {3}


class Running(Ours):
    """Stands in for our server: a server in this process, which answers at once and keeps the requests' headers."""

    def __init__(self) -> None:
        self.authorizations: list[str | None] = []

    @property
    def api_pid(self) -> int:
        return os.getpid()

    async def answer(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization"))
        usage = {"prompt_tokens": 1, "completion_tokens": 2}
        if request.path == "/generate":
            times = dict.fromkeys(("queue_time", "prompt_time", "generation_time"), 1)
            return web.json_response({"usage": usage, **times})
        events = [{"choices": [{"delta": {"content": "1"}}]}, {"choices": [], "usage": usage}]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return web.Response(text=text + "data: [DONE]\n\n", content_type="text/event-stream")


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    target, app = Running(), web.Application()
    app.router.add_post("/{path:.*}", target.answer)
    async with TestServer(app) as server:
        target.url = str(server.make_url("")).rstrip("/")
        # The root of the process tree, of which only the pid is read.
        target.process = Mock(pid=os.getpid())
        yield target
