"""Flags of the installed vLLM, read from its source: importing it would take ten seconds."""

import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..i18n.message import msg
from ..text_format import did_you_mean

_ENGINE = "engine/arg_utils.py"
_SERVER = ("entrypoints/launchers/cli_args.py", "entrypoints/common/cli_args.py")
_FLAG = re.compile(r"""["'](--?[A-Za-z][\w-]*)["']""")
_FIELD = re.compile(r"^    ([a-z]\w*): ", re.MULTILINE)
_VALUE = re.compile(r"-[\d.]")
_PARSER_FLAGS = {"--help", "-h", "--config", "-O"}


@functools.cache
def known_flags() -> frozenset[str]:
    """All flags, long ones with dashes instead of underscores; empty if vLLM's source has an unexpected layout."""
    spec = importlib.util.find_spec("vllm")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    engine = [file for folder in folders if (file := folder / _ENGINE).is_file()]
    server = [file for folder in folders for name in _SERVER if (file := folder / name).is_file()]
    if not engine or not server:
        return frozenset()
    found = set(_PARSER_FLAGS)
    for file in (*engine, *server):
        text = file.read_text(encoding="utf-8")
        found |= {flag.replace("_", "-") for flag in _FLAG.findall(text)}
        found |= {"--" + name.replace("_", "-") for name in _FIELD.findall(text)}
    return frozenset(found)


def check_flags(arguments: Sequence[str]) -> None:
    """Raise UsageError for a flag that vLLM does not know, and suggest the closest known one."""
    known = known_flags() if arguments else frozenset[str]()
    for argument in arguments if known else ():
        if not argument.startswith("-") or _VALUE.match(argument):
            continue
        # `--compilation-config.mode=3` sets one key of a flag, `-O3` includes its value.
        name = re.split(r"[=.]", argument, maxsplit=1)[0].replace("_", "-")
        if not name.startswith("--"):
            if argument[:2] not in known and name not in known:
                raise UsageError(msg("vLLM has no flag {name}.", name=name), "`vllm serve --help` lists its flags.")
        elif not any(flag.startswith((name, name.replace("--no-", "--", 1))) for flag in known):
            long = sorted(flag for flag in known if flag.startswith("--"))
            close = did_you_mean(name, long)
            hint = close if close.startswith("Did") else "`vllm serve --help` lists its flags."
            raise UsageError(msg("vLLM has no flag {name}.", name=name), hint)
