"""Recognize a licence key: short, and known only to the licence service."""

import re

_SHAPE = re.compile(r"[A-Za-z0-9]{4,8}(-[A-Za-z0-9]{4,8})+")


def looks_like_key(text: str) -> bool:
    """Whether the text has the form of a key: groups such as `XXXXX-XXXXX-XXXXX-XXXXX`."""
    return _SHAPE.fullmatch(text) is not None
