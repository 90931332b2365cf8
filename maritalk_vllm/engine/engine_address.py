"""Addresses at which an engine's processes exchange requests and outputs with an API process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """ZeroMQ endpoints, new for each engine: an API process binds `input` and `output`, and the engine connects.

    An address is used once: the engine announces itself there when it is ready, and not again. `statistics` is where
    the coordinator of several replicas publishes their load; None without one. `client` is the number by which the
    engine knows this address.
    """

    input: str
    output: str
    statistics: str | None = None
    client: int = 0
