"""The reasons for failed connections."""

import socket

import httpx
import pytest

from maritalk_vllm.licensing.http_address import connection_failure

NOT_FOUND = "its name was not found in the DNS"


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), NOT_FOUND),
        (socket.gaierror(socket.EAI_NODATA, "No address associated with hostname"), NOT_FOUND),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "the system's text"),
        (ConnectionRefusedError(111, "Connection refused"), "the system's text"),
    ],
)
def test_only_a_name_without_an_address_is_called_that(cause: OSError, reason: str) -> None:
    error = httpx.ConnectError("the system's text")
    error.__cause__ = cause
    assert connection_failure(error) == reason
