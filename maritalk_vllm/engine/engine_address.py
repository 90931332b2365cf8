"""Where an engine's processes exchange requests and outputs with the API process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """ZeroMQ endpoints, new for each engine: the API process binds `input` and `output`, and the engine connects.

    `statistics` is where the coordinator of several replicas publishes their load; None without one.
    """

    input: str
    output: str
    statistics: str | None = None
