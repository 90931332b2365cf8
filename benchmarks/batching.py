"""Continuous batching, seen from outside: how long many requests at once take, beside one alone.

python -m benchmarks.batching [--url http://127.0.0.1:9000] [--users 16] [--tokens 64] [--rounds 5]
"""

import argparse
import asyncio
import itertools
import statistics
import time

import httpx

_numbers = itertools.count()


async def ask(client: httpx.AsyncClient, tokens: int) -> None:
    """One greedy completion that cannot be taken from the prefix cache and does not end by itself before `tokens`."""
    prompt = f"{next(_numbers)}: 1 2 3 4 5 6 7 8 9 10 11 12"
    answer = await client.post("/generate", json={"prompt": prompt, "max_tokens": tokens, "do_sample": False})
    answer.raise_for_status()


async def at_once(client: httpx.AsyncClient, users: int, tokens: int) -> float:
    """Seconds until all of `users` requests, sent together, are answered."""
    began = time.perf_counter()
    await asyncio.gather(*(ask(client, tokens) for _ in range(users)))
    return time.perf_counter() - began


async def measure(url: str, users: int, tokens: int, rounds: int) -> None:
    """Alternate one alone and many at once, and print medians and their ratio."""
    limits = httpx.Limits(max_connections=users)
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits, trust_env=False) as client:
        await at_once(client, users, 4)
        alone, together = [], []
        for _ in range(rounds):
            alone.append(await at_once(client, 1, tokens))
            together.append(await at_once(client, users, tokens))
    one, many = statistics.median(alone), statistics.median(together)
    print(f"{'1 request alone':<22}{one:7.3f} s   ({min(alone):.3f} to {max(alone):.3f}, {rounds} rounds)")
    print(f"{f'{users} requests at once':<22}{many:7.3f} s   ({min(together):.3f} to {max(together):.3f})")
    print(f"{f'{users} times one alone':<22}{users * one:7.3f} s")
    print(f"{'ratio':<22}{many / (users * one):7.3f}     (1 without batching)")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:9000")
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(measure(given.url, given.users, given.tokens, given.rounds))


if __name__ == "__main__":
    main()
