"""How the scripts are given what they ask, and how they tell what came of it: a line of JSON for each thing."""

import json
import sys
from collections.abc import Callable
from typing import Any

asked: dict[str, Any] = json.loads(sys.argv[1])


def tell(name: str, value: Any) -> None:
    print(json.dumps({name: value}), file=sys.__stdout__, flush=True)


def tell_error(name: str, kind: type[Exception], call: Callable[[], object]) -> None:
    """The class and the text of the error that a call raises. One of another kind ends the script, and so does none."""
    try:
        value = call()
    except kind as error:
        tell(name, {"raised": type(error).__name__, "text": str(error)})
    else:
        raise AssertionError(f"{name}: no error, but {value!r}")
