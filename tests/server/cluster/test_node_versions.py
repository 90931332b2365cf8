"""Nodes of different versions of this program: the rejected one says which versions differ."""

import asyncio
from typing import Any

import msgspec
import pytest

from maritalk_vllm.errors import MariTalkError, UsageError
from maritalk_vllm.server.cluster.node_messages import HELLO, RECEPTION, Refused
from tests.server.cluster.groups import INFO, LocalGroup, Peer, connected, local_group
from tests.server.messaging.samples import frame

HINT = "Give every node the same options and versions, and machines with the same cards free."
NEWER = "Node 1 does not match node 0: version 9.0.0, not 0.1.0."
WITHOUT_TERMS = (
    "Node 1 does not match node 0: version None, not 0.1.0; vllm None, not 0.32.0; nodes None, not 2; model None, not "
    "demo; device None, not cuda; dtype None, not bfloat16; cards None, not 2; card None, not L4; tensor_parallel_size "
    "None, not 2; pipeline_parallel_size None, not 2."
)


def hello_of_version(version: str, *without: str, **more: Any) -> dict[str, Any]:
    terms = {name: value for name, value in INFO.terms().items() if name not in without}
    return {"type": "hello", "rank": 1, "terms": {**terms, "version": version}, **more}


@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        (hello_of_version("9.0.0"), NEWER),
        (hello_of_version("9.0.0", from_the_future={"x": [1]}, zone=None), NEWER),
        (hello_of_version("9.0.0", nonce=None, proof=None), NEWER),
        (
            {**hello_of_version("9.0.0"), "terms": {**INFO.terms(), "version": "9.0.0", "new": 1, "cards": [2, 2]}},
            "Node 1 does not match node 0: version 9.0.0, not 0.1.0; cards list, not 2.",
        ),
        (
            hello_of_version("0.0.9", "card"),
            "Node 1 does not match node 0: version 0.0.9, not 0.1.0; card None, not L4.",
        ),
        ({"type": "hello", "rank": 1}, WITHOUT_TERMS),
    ],
)
def test_a_follower_of_another_version_learns_what_differs(hello: dict[str, Any], sentence: str) -> None:
    async def scenario() -> None:
        async with local_group() as made:
            gathering = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
            peer = await connected(made)
            await peer.receive(RECEPTION)
            peer.write(frame(msgspec.msgpack.encode(hello)))
            refused = await peer.receive(RECEPTION)
            assert isinstance(refused, Refused)
            error = refused.error.to_error()
            assert isinstance(error, UsageError)
            assert (error.message, error.hint) == (sentence, HINT)
            peer.close()
            gathering.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("challenge", "refused", "kind"),
    [
        ({}, {}, UsageError),
        ({"from_the_future": 1}, {"from_the_future": [2]}, UsageError),
        ({}, {"error": {"error": "UsageError", "message": NEWER, "hint": HINT, "detail": {"x": 1}}}, UsageError),
        ({}, {"error": {"error": "VersionError", "message": NEWER, "hint": HINT}}, MariTalkError),
    ],
)
def test_a_leader_of_another_version_is_understood(
    challenge: dict[str, Any], refused: dict[str, Any], kind: type[MariTalkError]
) -> None:
    """Also if it has fields, and a class of errors, that this version does not know."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        peer.write(frame(msgspec.msgpack.encode({"type": "challenge", "nonce": "0" * 64, **challenge})))
        await peer.receive(HELLO)
        error = {"error": "UsageError", "message": NEWER, "hint": HINT}
        peer.write(frame(msgspec.msgpack.encode({"type": "refused", "error": error, **refused})))
        peer.close()

    async def scenario() -> None:
        made = LocalGroup()
        server = await asyncio.start_server(respond, "127.0.0.1", made.config(0).control_port)
        with pytest.raises(MariTalkError) as caught:
            await asyncio.wait_for(made.follower().wait_for_peers(made.shown.append), 5)
        assert type(caught.value) is kind
        assert str(caught.value) == f"{NEWER} {HINT}"
        server.close()

    asyncio.run(scenario())
