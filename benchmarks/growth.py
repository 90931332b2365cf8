"""Our server as its load grows: more users at once, more API keys, more requests that one server has answered."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from . import compare, results
from .load_order import LoadSpec
from .processes import memory, process_tree_memory
from .subject import Subject
from .targets import Ours

WIRES = ("generate", "openai-chat-stream")
"""API formats of the loads by users; the others have the first."""

USERS, MAX_TOKENS = 64, 2
"""Users at once, and tokens of an answer, where something else grows."""

MIN_REQUESTS_PER_KEY = 4
WARMING_REQUESTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One load. `total` is what the server has answered after it, with those before and the warm-up.

    CPU is the time per request, of the API process and of the server's other processes. Memory is in 10^6 bytes, after
    the load, of the API process and of all processes; the resident set counts a shared page in each of them.
    """

    wire: str
    users: int
    keys: int
    total: int
    requests: int
    requests_per_second: float
    api_cpu_ms: float
    other_cpu_ms: float
    first_token_p50_ms: float | None
    first_token_p99_ms: float | None
    api_rss_mb: float
    api_pss_mb: float
    all_rss_mb: float


@dataclass(frozen=True, slots=True)
class Growth:
    """The rows of each kind of load, and a sentence on what else ran on the machine."""

    users: list[Row]
    keys: list[Row]
    requests: list[Row]
    interference: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of the largest load divided by that of a smaller one; 1 if it does not grow."""

    ratio: str
    measured: float


def measure(
    subject: Subject, users: Sequence[int], requests: int, max_tokens: int, keys: Sequence[int], total: int
) -> Growth:
    """Loads of each number of `users`, of each number of `keys`, and of `total` requests, on servers of their own.

    A load of users has at least so many `requests`, with `max_tokens` each. Raises RuntimeError if a request fails.
    """
    by_users: list[Row] = []
    by_keys: list[Row] = []
    by_requests: list[Row] = []
    measured: list[compare.Measured] = []
    if users:
        with _server(subject, max(USERS, *users)) as server:
            by_users = asyncio.run(server.by_users(users, requests, max_tokens))
            measured += server.measured
    for number in keys:
        with _server(subject, keys=key_names(number)) as server:
            # As many for each number of keys, so that they compare.
            most = max(compare.MIN_REQUESTS_PER_USER * USERS, MIN_REQUESTS_PER_KEY * max(keys))
            by_keys.append(asyncio.run(server.by_keys(most)))
            measured += server.measured
    if total:
        with _server(subject) as server:
            by_requests = asyncio.run(server.by_requests(total))
            measured += server.measured
    return Growth(by_users, by_keys, by_requests, compare.interference(measured) if measured else "")


def table(growth: Growth) -> list[str]:
    """The tables of the loads that were run, and their ratios."""
    lines = []
    for rows in (growth.users, growth.keys, growth.requests, ratios(growth)):
        if rows:
            lines += [*results.table(rows), ""]
    return [*lines, growth.interference]


class Server:
    """A running server and the loads on it, one after the other. `measured` has all of them but the warm-up."""

    def __init__(self, target: Ours, keys: Sequence[str] = ()) -> None:
        self.measured: list[compare.Measured] = []
        self._target = target
        self._keys = tuple(keys)
        self._total = 0

    async def by_users(self, users: Sequence[int], requests: int, max_tokens: int) -> list[Row]:
        """Each number of users with each API format."""
        for wire in WIRES:
            await self._load(wire, USERS, WARMING_REQUESTS, max_tokens)
        return [
            await self._row(wire, count, max(requests, compare.MIN_REQUESTS_PER_USER * count), max_tokens)
            for count in users
            for wire in WIRES
        ]

    async def by_keys(self, requests: int) -> Row:
        """One load that takes the keys in turn, each of which was used before."""
        await self._load(WIRES[0], USERS, max(WARMING_REQUESTS, len(self._keys)), MAX_TOKENS)
        return await self._row(WIRES[0], USERS, requests, MAX_TOKENS)

    async def by_requests(self, most: int) -> list[Row]:
        """Loads up to each power of ten of requests in all, without a warm-up."""
        steps = pairwise((0, *totals(most)))
        return [await self._row(WIRES[0], USERS, total - before, MAX_TOKENS) for before, total in steps]

    async def _row(self, wire: str, users: int, requests: int, max_tokens: int) -> Row:
        """Run a load, and print its row on stderr at once: all of them take minutes."""
        found = await self._load(wire, users, requests, max_tokens)
        self.measured.append(found)
        figures, first, used = found.figures, found.figures.time_to_first_token, memory(self._target.api_pid)
        row = Row(
            wire=wire,
            users=users,
            keys=len(self._keys),
            total=self._total,
            requests=requests,
            requests_per_second=figures.requests_per_second,
            api_cpu_ms=1000 * found.cpu.api / requests,
            other_cpu_ms=1000 * found.cpu.others / requests,
            first_token_p50_ms=1000 * first.p50 if first else None,
            first_token_p99_ms=1000 * first.p99 if first else None,
            api_rss_mb=used.rss / 1e6,
            api_pss_mb=used.pss / 1e6,
            all_rss_mb=process_tree_memory(self._target.process.pid).rss / 1e6,
        )
        print(row, file=sys.stderr, flush=True)
        return row

    async def _load(self, wire: str, users: int, requests: int, max_tokens: int) -> compare.Measured:
        load_spec = LoadSpec(
            wire=wire, users=users, requests=requests, max_tokens=max_tokens, first=self._total, keys=self._keys
        )
        self._total += requests
        return await compare.measure(self._target, load_spec, compare.Shape(users, max_tokens=max_tokens), 1)


@contextmanager
def _server(subject: Subject, users: int = USERS, keys: Sequence[str] = ()) -> Iterator[Server]:
    """Start our server for so many users at once, with a key file if there are keys, and stop it at the end."""
    # By default a small KV cache limits them to 256, and each of several keys to half of the limit.
    flags = (*subject.flags, "--max-num-queued-reqs", str(4 * users))
    with TemporaryDirectory() as name:
        folder, file = Path(name), Path(name, "keys")
        file.write_text("".join(f"{key}\n" for key in keys))
        options = ("--api-key-file", str(file)) if keys else ()
        target = Ours(replace(subject, flags=flags, options=options), folder)
        try:
            target.wait()
            yield Server(target, keys)
        finally:
            target.stop()


def key_names(number: int) -> list[str]:
    """So many API keys, of the length of those that `openssl rand -hex 24` makes."""
    return [f"{each:048x}" for each in range(1, number + 1)]


def totals(most: int) -> list[int]:
    """The powers of ten up to `most` requests, and `most`."""
    return sorted({*(10**power for power in range(len(str(most)))), most})


def ratios(growth: Growth) -> list[Ratio]:
    """The ratios whose loads were both run."""
    cpu, rows = "API CPU a request", growth.requests
    found = []
    for wire in WIRES:
        values = {row.users: row.api_cpu_ms for row in growth.users if row.wire == wire}
        found += _ratio(f"{cpu}, {wire},", "users", values, USERS)
    found += _ratio(f"{cpu},", "keys", {row.keys: row.api_cpu_ms for row in growth.keys}, 1)
    found += _ratio(f"{cpu}, load that ends at", "requests", {row.total: row.api_cpu_ms for row in rows}, 10_000)
    found += _ratio("RSS of the API process after", "requests", {row.total: row.api_rss_mb for row in rows}, 1000)
    found += _ratio("RSS of all processes after", "requests", {row.total: row.all_rss_mb for row in rows}, 1000)
    return found


def _ratio(name: str, unit: str, values: Mapping[int, float], base: int) -> list[Ratio]:
    """The value at the largest number divided by that at `base`; none without a value at both."""
    most = max(values, default=base)
    if most <= base or base not in values:
        return []
    return [Ratio(f"{name} {most} {unit} / {base}", values[most] / values[base])]
