"""The requests of the benchmark that MariTalk Local was measured with (examples/local/benchmark.py, February 2024)."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import maritalk
from report import asked, tell

client = maritalk.MariTalkLocal(port=asked["port"])


def request(_: int) -> dict[str, Any]:
    began = time.monotonic()
    result = client.generate_raw(asked["prompt"], max_tokens=asked["max_tokens"], temperature=3.0)
    return {**result, "wall_time": time.monotonic() - began}


for concurrency in asked["concurrency"]:
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        tell(str(concurrency), list(pool.map(request, range(concurrency))))
