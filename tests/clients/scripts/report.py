"""Input and output of the scripts: one JSON argument, and a line of JSON for each reported value."""

import json
import sys
from collections.abc import Callable
from typing import Any

inputs: dict[str, Any] = json.loads(sys.argv[1])


def report(name: str, value: Any) -> None:
    print(json.dumps({name: value}), file=sys.__stdout__, flush=True)


def report_error(name: str, kind: type[Exception], call: Callable[[], object]) -> None:
    """Report class and text of the error that a call raises. Another class, or no error, ends the script."""
    try:
        value = call()
    except kind as error:
        report(name, {"raised": type(error).__name__, "text": str(error)})
    else:
        raise AssertionError(f"{name}: no error, but {value!r}")
