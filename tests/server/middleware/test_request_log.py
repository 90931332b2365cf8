"""The fields of a request's line in the log."""

import httpx
import pytest

from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import Key, hash_key
from tests.server.middleware.test_request_metrics import Counting

LOGGER = "vllm.maritalk.requests"


def test_the_reason_of_a_rejection_and_the_name_of_the_key_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    key = "a-key-of-sixteen-characters"
    counting = Counting(AccessConfig(file_keys={hash_key(key): Key("ana")}, requests_per_minute=1))

    async def scenario(client: httpx.AsyncClient) -> None:
        for headers in ({}, {"Authorization": "Bearer wrong"}, *[{"Authorization": f"Bearer {key}"}] * 2):
            await client.post("/generate", headers=headers)

    with caplog.at_level("INFO", LOGGER):
        counting.run(scenario)
    logged = [vars(record) for record in caplog.records if record.name == LOGGER]
    found = [(each["status"], each["refusal"], each["key"]) for each in logged]
    assert found == [(401, "no_key", ""), (401, "wrong_key", ""), (200, "", "ana"), (429, "quota", "ana")]
    assert key not in str(logged)
