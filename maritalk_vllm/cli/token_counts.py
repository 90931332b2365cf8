"""Parses numbers of tokens in vLLM's notation: `8000`, `8k` (8,000), `8K` (8,192), `25.6k`, `1M`."""

import re

from ..i18n.message import msg

_DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_FORM = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)", re.ASCII)
_HELM = re.compile(r"\d(?:\.\d+)?e\+?(?:0?\d|1[0-5])", re.ASCII)
"""Helm writes integers from a million on as 1.048576e+06."""


def tokens(value: str) -> int:
    """Parse the number. Raises ValueError with a message for the user."""
    text = value.strip()
    if _HELM.fullmatch(text) and float(text).is_integer():
        return int(float(text))
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(msg("{text!r} is no number of tokens: write it as 8000, 8k (8,000) or 8K (8,192).", text=text))
    number, suffix = found.groups()
    if suffix in _BINARY:
        if "." in number:
            decimal = f"{number}{suffix.lower()}"
            raise ValueError(
                msg(
                    "{text!r} has a fraction, which 8K and 8M cannot have: write {decimal}.", text=text, decimal=decimal
                )
            )
        return int(number) * _BINARY[suffix]
    if not suffix and "." in number:
        raise ValueError(msg("{text!r} is no whole number of tokens.", text=text))
    whole, _, fraction = number.partition(".")
    return int(whole + fraction) * _DECIMAL[suffix] // int("1" + "0" * len(fraction))


def at_least_one(value: str) -> int:
    """Parse a number of at least 1. Raises ValueError with a message for the user."""
    number = tokens(value)
    if number < 1:
        raise ValueError(msg("{text!r} is no number of tokens: the least is 1.", text=value.strip()))
    return number


def or_auto(value: str) -> int | None:
    """Parse a number, or None for `auto` and -1, with which vLLM uses what the model and the memory allow."""
    return None if value.strip().lower() in ("auto", "-1") else at_least_one(value)
