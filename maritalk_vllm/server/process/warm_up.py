"""The first requests of an API process, which it sends itself."""

import contextlib

from ...engine.generator import Generator
from ...engine.sampling import Message, Sampling
from ...errors import RequestError


async def warm_up(generator: Generator) -> None:
    """Send one request of each kind through the whole path of a user's request: the first is slower than later ones."""
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=4)
    for prompt in ("1 2 3", [Message("user", "olá")]):
        # A model may have no chat template, or too short a context; the server still serves the other routes.
        with contextlib.suppress(RequestError):
            await generator.complete(prompt, sampling)
