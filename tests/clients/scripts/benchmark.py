"""The requests of MariTalk Local's published benchmark (examples/local/benchmark.py, February 2024)."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import maritalk
from report import inputs, report

client = maritalk.MariTalkLocal(port=inputs["port"])


def request(_: int) -> dict[str, Any]:
    began = time.monotonic()
    result = client.generate_raw(inputs["prompt"], max_tokens=inputs["max_tokens"], temperature=3.0)
    return {**result, "wall_time": time.monotonic() - began}


for concurrency in inputs["concurrency"]:
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        report(str(concurrency), list(pool.map(request, range(concurrency))))
