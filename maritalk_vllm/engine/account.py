"""What each request takes of the engine, whichever route it came by."""

import contextlib
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .completion import seconds

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient
    from vllm.outputs import RequestOutput


@dataclass(slots=True)
class Account:
    """Tokens, and seconds by the engine's clock: the longest where a client's request is several of the engine's.

    `refusal` is why it was not answered, where our own code knows.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    queue_time: float = 0.0
    prompt_time: float = 0.0
    generation_time: float = 0.0
    refusal: str = ""

    def add(self, last: "RequestOutput") -> None:
        """A request of the engine's, by its last output."""
        times = last.metrics
        self.prompt_tokens += len(last.prompt_token_ids or ())
        if times is None:
            return
        self.completion_tokens += times.num_generation_tokens
        queue_time, prompt_time, generation_time = seconds(times)
        self.queue_time = max(self.queue_time, queue_time)
        self.prompt_time = max(self.prompt_time, prompt_time)
        self.generation_time = max(self.generation_time, generation_time)


current: ContextVar[Account | None] = ContextVar("account", default=None)
"""That of the request that is being answered: whoever answers it sets one, and reads it when the answer is whole."""


def keep_accounts(client: "EngineClient") -> None:
    """Have this client add what it generates to the account of whoever asked."""
    generate = client.generate

    async def counted(*arguments: Any, **options: Any) -> AsyncGenerator["RequestOutput", None]:  # noqa: ANN401
        account, last = current.get(), None
        try:
            async with contextlib.aclosing(generate(*arguments, **options)) as outputs:
                async for output in outputs:
                    last = output
                    yield output
        finally:
            if account is not None and last is not None:
                account.add(last)

    client.generate = counted
