"""The longest context that a KV cache holds. Pure."""

from collections.abc import Callable

_STEP = 16
"""vLLM's blocks of KV cache have this many tokens."""


def longest_context(longest: int, shortest: int, room_bytes: int, request_bytes: Callable[[int], int]) -> int:
    """Tokens, at most `longest`, of one request that fits into `room_bytes`; `shortest` is known to fit."""
    if request_bytes(longest) <= room_bytes:
        return longest
    low, high = shortest // _STEP, longest // _STEP
    while low < high:
        middle = (low + high + 1) // 2
        if request_bytes(middle * _STEP) <= room_bytes:
            low = middle
        else:
            high = middle - 1
    return max(shortest, low * _STEP)
