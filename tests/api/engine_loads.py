"""An engine whose load a test sets."""

from maritalk_vllm.engine.engine_load import EngineLoad


class Load(EngineLoad):
    """The load of an engine with two places."""

    unfinished = 0
    lines = 0
    kv_cache_usage = 0.0

    def __init__(self, places: int = 2) -> None:
        self.places = places
        self.is_compute_bound = True
