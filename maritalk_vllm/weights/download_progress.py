"""How a download tells how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Told a step, the bytes of it that are done, and all of its bytes where that is known."""
