"""A licence key: short, and known to the licence service alone."""

import re

_SHAPE = re.compile(r"[A-Za-z0-9]{4,8}(-[A-Za-z0-9]{4,8})+")


def looks_like_key(text: str) -> bool:
    """Whether it is in groups, as in `XXXXX-XXXXX-XXXXX-XXXXX`."""
    return _SHAPE.fullmatch(text) is not None
