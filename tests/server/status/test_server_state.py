"""The phase of a server, and the step of its start."""

import pytest

from maritalk_vllm.server.status.server_state import Phase, ServerState


def test_each_new_step_is_reported_once() -> None:
    state = ServerState()
    steps: list[tuple[str, float | None]] = []
    state.set_step("Importing vLLM")
    state.on_step = lambda *step: steps.append(step)
    for step in (("Loading the model", None), ("Loading the model", 0.5), ("Loading the model", 0.5)):
        state.set_step(*step)
    state.transition_to(Phase.READY)
    assert steps == [("Loading the model", None), ("Loading the model", 0.5), ("", None)]


def test_a_draining_server_does_not_become_ready() -> None:
    state = ServerState()
    state.transition_to(Phase.DRAINING)
    with pytest.raises(ValueError, match="draining is never followed by ready"):
        state.transition_to(Phase.READY)
