"""Which flags the installed vLLM knows, told by its source without importing it, which takes ten seconds."""

import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..text_format import did_you_mean

_ENGINE = "engine/arg_utils.py"
_SERVER = ("entrypoints/launchers/cli_args.py", "entrypoints/common/cli_args.py")
_FLAG = re.compile(r"""["'](--?[A-Za-z][\w-]*)["']""")
_FIELD = re.compile(r"^    ([a-z]\w*): ", re.MULTILINE)
_VALUE = re.compile(r"-[\d.]")
_OF_ITS_PARSER = {"--help", "-h", "--config", "-O"}


@functools.cache
def known_flags() -> frozenset[str]:
    """With two dashes and without underscores, or short; none where the source is not as it was read."""
    spec = importlib.util.find_spec("vllm")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    engine = [file for place in places if (file := place / _ENGINE).is_file()]
    server = [file for place in places for name in _SERVER if (file := place / name).is_file()]
    if not engine or not server:
        return frozenset()
    found = set(_OF_ITS_PARSER)
    for file in (*engine, *server):
        text = file.read_text(encoding="utf-8")
        found |= {flag.replace("_", "-") for flag in _FLAG.findall(text)}
        found |= {"--" + name.replace("_", "-") for name in _FIELD.findall(text)}
    return frozenset(found)


def check_flags(words: Sequence[str]) -> None:
    """Raises UsageError for a flag that vLLM does not know, with the nearest that it does."""
    known = known_flags() if words else frozenset[str]()
    for word in words if known else ():
        if not word.startswith("-") or _VALUE.match(word):
            continue
        # `--compilation-config.mode=3` sets a part of one, `-O3` has its value with it.
        name = re.split(r"[=.]", word, maxsplit=1)[0].replace("_", "-")
        if not name.startswith("--"):
            if word[:2] not in known and name not in known:
                raise UsageError(f"vLLM has no flag {name}.", "`vllm serve --help` lists its flags.")
        elif not any(flag.startswith((name, name.replace("--no-", "--", 1))) for flag in known):
            long = sorted(flag for flag in known if flag.startswith("--"))
            close = did_you_mean(name, long)
            hint = close if close.startswith("Did") else "`vllm serve --help` lists its flags."
            raise UsageError(f"vLLM has no flag {name}.", hint)
