"""A clock for the windows of usage, and usage that two processes share."""

from collections.abc import Iterator
from contextlib import closing
from unittest.mock import patch

import pytest

from maritalk_vllm.server.messaging.shared_memory import SharedMemory
from maritalk_vllm.server.middleware.shared_usage import SharedUsage, size_bytes


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with (
        patch("maritalk_vllm.server.middleware.usage_window.time", clock),
        patch("maritalk_vllm.server.middleware.shared_usage.time", clock),
    ):
        yield clock


@pytest.fixture
def views() -> Iterator[list[SharedUsage]]:
    """What two processes see."""
    with closing(SharedMemory.create(size_bytes(2))) as memory:
        yield [SharedUsage(memory, memory.view, index, 2) for index in range(2)]
