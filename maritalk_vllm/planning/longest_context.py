"""Compute the longest context that a KV cache holds. Pure."""

from collections.abc import Callable

from ..models.architecture import BLOCK_TOKENS


def longest_context(target_len: int, min_len: int, available_bytes: int, request_bytes: Callable[[int], int]) -> int:
    """The longest request in tokens that fits `available_bytes`, up to `target_len`; `min_len` is known to fit."""
    if request_bytes(target_len) <= available_bytes:
        return target_len
    low, high = min_len // BLOCK_TOKENS, target_len // BLOCK_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        if request_bytes(middle * BLOCK_TOKENS) <= available_bytes:
            low = middle
        else:
            high = middle - 1
    return max(min_len, low * BLOCK_TOKENS)
