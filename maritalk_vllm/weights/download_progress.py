"""The callback with which a download reports its progress."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with the name of a step, the bytes done, and the total bytes, None if unknown."""
