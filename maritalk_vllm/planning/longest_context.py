"""The longest context that a KV cache holds. Pure."""

from collections.abc import Callable

from ..models.architecture import BLOCK_TOKENS


def longest_context(longest: int, shortest: int, room_bytes: int, request_bytes: Callable[[int], int]) -> int:
    """Tokens, at most `longest`, of one request that fits into `room_bytes`; `shortest` is known to fit."""
    if request_bytes(longest) <= room_bytes:
        return longest
    low, high = shortest // BLOCK_TOKENS, longest // BLOCK_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        if request_bytes(middle * BLOCK_TOKENS) <= room_bytes:
            low = middle
        else:
            high = middle - 1
    return max(shortest, low * BLOCK_TOKENS)
