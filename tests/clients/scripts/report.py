"""Input and output of the scripts: one JSON argument, and a line of JSON for each reported value."""

import json
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

inputs: dict[str, Any] = json.loads(sys.argv[1])


def report(name: str, value: Any) -> None:
    print(json.dumps({name: value}), file=sys.__stdout__, flush=True)


def run_all(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return the result of each call. All run at once: the server generates for them in one batch."""
    with ThreadPoolExecutor(len(calls)) as pool:
        running = {name: pool.submit(call) for name, call in calls.items()}
        return {name: call.result() for name, call in running.items()}


def report_all(calls: Mapping[str, Callable[[], Any]]) -> None:
    """Run all calls at once, and report the result of each."""
    for name, value in run_all(calls).items():
        report(name, value)


def report_error(name: str, kind: type[Exception], call: Callable[[], object]) -> None:
    """Report class and text of the error that a call raises. Another class, or no error, ends the script."""
    try:
        value = call()
    except kind as error:
        report(name, {"raised": type(error).__name__, "text": str(error)})
    else:
        raise AssertionError(f"{name}: no error, but {value!r}")
