"""vLLM's log of a failed step, with its own function and objects: keeps useful values, omits users' texts."""

import logging

import pytest

from maritalk_vllm.engine import vllm_launcher
from maritalk_vllm.engine.log_redaction import mask_secrets
from maritalk_vllm.settings import Device

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

USER_TEXT = "what-a-user-wrote"


@pytest.fixture(scope="module", autouse=True)
def preloaded() -> None:
    vllm_launcher.preload(Device.CPU)


def test_failed_step_is_redacted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import SamplingParams, StructuredOutputsParams
    from vllm.v1.core.sched.output import CachedRequestData, NewRequestData, SchedulerOutput
    from vllm.v1.engine import core
    from vllm.v1.metrics.stats import SchedulerStats

    params = SamplingParams(
        stop=[f"{USER_TEXT} stop"],
        bad_words=[f"{USER_TEXT} word"],
        structured_outputs=StructuredOutputsParams(json={"title": f"{USER_TEXT} schema"}),
        extra_args={f"{USER_TEXT} key": f"{USER_TEXT} value"},
        temperature=0.25,
        max_tokens=77,
        seed=4242,
    )
    params.structured_outputs._backend = "xgrammar"
    new = NewRequestData(
        req_id="request-1",
        prompt_token_ids=[91001, 91002, 91003],
        mm_features=[],
        sampling_params=params,
        pooling_params=None,
        block_ids=([7, 8],),
        num_computed_tokens=16,
        lora_request=LoRARequest("adapter", 1, "/adapter"),
        prefill_token_ids=[91001],
    )
    cached = CachedRequestData(["request-2"], {"request-2"}, [[91004]], {"request-2": [91005]}, [([9],)], [5], [6])
    step = SchedulerOutput(
        scheduled_new_reqs=[new],
        scheduled_cached_reqs=cached,
        num_scheduled_tokens={"request-1": 3, "request-2": 1},
        total_num_scheduled_tokens=4,
        scheduled_spec_decode_tokens={"request-2": [91006, 91007]},
        scheduled_encoder_inputs={},
        num_common_prefix_blocks=[0],
        finished_req_ids={"request-3"},
        free_encoder_mm_hashes=[],
    )
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    core.dump_engine_exception("model='m', otlp='http://u:s3cr3t@host'", step, SchedulerStats(num_running_reqs=2))
    logged = caplog.text
    assert "s3cr3t" not in logged
    for text in (USER_TEXT, "91001", "91004", "91005", "91006"):
        assert text not in logged, logged
    for useful in (
        "Dumping input data for V1 LLM engine",
        "config: model='m'",
        "req_id='request-1'",
        "prompt_token_ids=<3>",
        "block_ids=[[7, 8]]",
        "num_computed_tokens=16",
        "temperature=0.25",
        "max_tokens=77",
        "seed=4242",
        "stop=<1 entries>",
        "bad_words=<1 entries>",
        "json=<1 entries>",
        "extra_args=<1 entries>",
        "'request-2': <2>",
        "total_num_scheduled_tokens=4",
        "finished_req_ids=['request-3']",
        "num_running_reqs=2",
    ):
        assert useful in logged, logged


def test_secrets_are_masked(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a handler of vLLM's, which its loggers share."""
    logger = logging.getLogger("vllm")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr(caplog.handler, "filters", [])
    mask_secrets({"s3cr3t-v4lue"})
    logging.getLogger("vllm.engine.arg_utils").warning("hf_token: %s", "s3cr3t-v4lue")
    assert "hf_token: ********" in caplog.text
    assert "s3cr3t-v4lue" not in caplog.text
