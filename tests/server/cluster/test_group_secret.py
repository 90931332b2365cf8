"""The control connection with invalid peers: connections that are no nodes, invalid messages, wrong secrets."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.cluster import follower as follower_module
from maritalk_vllm.server.cluster import leader as leader_module
from maritalk_vllm.server.cluster.handshake import FOLLOWER, LEADER, proof, read_secret
from maritalk_vllm.server.cluster.message_stream import ConnectionLost
from maritalk_vllm.server.cluster.node_lost import NodeLost
from maritalk_vllm.server.cluster.node_messages import (
    FROM_LEADER,
    HANDSHAKE_BYTES,
    HELLO,
    RECEPTION,
    Begin,
    Challenge,
    FromLeader,
    Hello,
    Reception,
    Refused,
    Taken,
    Welcome,
)
from tests.server.cluster.groups import AGREEMENT, INFO, NODE_1, LocalGroup, Peer, connected, local_group
from tests.server.messaging.samples import frame

SECRET, OTHER = b"the secret of the group", b"another group's secret!"
NONCE = "0" * 64
SAME = "Give every node the same --nodes-secret-file, or none."
BEGIN = FROM_LEADER.frame(Begin(AGREEMENT))


def packed(message: Any) -> bytes:
    return frame(msgspec.msgpack.encode(message))


INVALID: dict[str, bytes] = {
    "its type 'nothing' is unknown": packed({"type": "nothing"}),
    "Object missing required field `type`": packed({}),
    "Expected `str`, got `array` - at `$.type`": packed({"type": ["hello"]}),
    "Expected `object`, got `array`": packed([1]),
    "Expected `object`, got `None`": packed(None),
    "Input data was truncated": frame(b""),
    "over the limit of": b"GET / HTTP/1.1\r\n\r\n",
    "maximum recursion depth": frame(b"\x82\xa4type\xa5hello\xa1x" + b"\x91" * 60_000),
}
"""Invalid messages of every direction, by the problem that the error must name."""

INVALID_HELLOS: dict[str, bytes] = {
    "hello: Object missing required field `rank`": packed({"type": "hello"}),
    **{
        f"hello: Expected {kind}": packed({"type": "hello", "rank": rank})
        for kind, rank in (
            ("`int`, got `bool`", True),
            ("`int`, got `float`", 1.5),
            ("`int`, got `str`", "1"),
            ("`int`, got `None`", None),
            ("`int` >= 1", 0),
        )
    },
    "hello: Expected `object`, got `array` - at `$.terms`": packed({"type": "hello", "rank": 1, "terms": []}),
    "hello: Expected `str | null`": packed({"type": "hello", "rank": 1, "proof": 1}),
    "its type 'Idle' is unknown": packed({"type": "Idle"}),
    f"it has {HANDSHAKE_BYTES + 1} bytes, over the limit of {HANDSHAKE_BYTES}": frame(b"x" * (HANDSHAKE_BYTES + 1)),
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(leader_module, "_RETRY_SECONDS", 0.02)


@contextlib.asynccontextmanager
async def gathering(secret: bytes | None = None) -> AsyncIterator[LocalGroup]:
    """A leader that waits for node 1. At the end, a valid node 1 must still be able to connect."""
    async with local_group(secret=secret) as made:
        waiting = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
        yield made
        if not waiting.done():
            # After any of these messages, the real node can connect.
            await asyncio.wait_for(asyncio.gather(waiting, made.follower().wait_for_peers(made.shown.append)), 5)


@pytest.mark.parametrize(("problem", "sent"), {**INVALID, **INVALID_HELLOS}.items())
def test_an_invalid_hello_takes_no_rank_and_is_logged(
    caplog: pytest.LogCaptureFixture, problem: str, sent: bytes
) -> None:
    async def scenario() -> None:
        async with gathering() as made:
            peer = await connected(made)
            await peer.receive(RECEPTION)
            peer.write(sent)
            assert await peer.rest() == b""
            peer.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "The host at 127.0.0.1 is no node: A message from a host to node 0 is invalid: "
    )
    assert problem in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize("sent", [b"", b"\0\0", (HANDSHAKE_BYTES).to_bytes(4, "big") + b"x" * 10])
@pytest.mark.parametrize("closes", [True, False])
def test_a_host_that_sends_no_whole_hello_in_time_is_disconnected(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent: bytes, closes: bool
) -> None:
    monkeypatch.setattr(leader_module, "_HELLO_SECONDS", 0.2)

    async def scenario() -> None:
        async with gathering() as made:
            peer = await connected(made)
            peer.write(sent)
            if closes:
                peer.close()
            else:
                await peer.receive(RECEPTION)
                assert await peer.rest() == b""
                peer.close()

    asyncio.run(scenario())
    assert not caplog.records


async def joined(made: LocalGroup) -> Peer:
    """The other end of a node 1 whose hello the leader has accepted."""
    beginning = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
    peer = await connected(made)
    peer.send(HELLO, NODE_1)
    await beginning
    return peer


@pytest.mark.parametrize(
    ("problem", "sent"),
    {
        **INVALID,
        "its type 'hello' is unknown": HELLO.frame(NODE_1),
        "WorkersFailed: Object missing required field `error`": packed({"type": "WorkersFailed"}),
        "Expected `str`, got `int` - at `$.error.message`": packed(
            {"type": "WorkersFailed", "error": {"error": "EngineError", "message": 1}}
        ),
        "Idle: Object contains unknown field `x`": packed({"type": "Idle", "x": 1}),
    }.items(),
)
def test_a_node_that_sends_an_invalid_message_is_lost(
    caplog: pytest.LogCaptureFixture, problem: str, sent: bytes
) -> None:
    """The sentence says why. The node may connect again."""

    async def scenario() -> None:
        async with local_group() as made:
            peer = await joined(made)
            peer.write(sent)
            with pytest.raises(NodeLost) as caught:
                await asyncio.wait_for(made.leader.wait_for_failure(), 5)
            start = "Node 1 (127.0.0.1) is gone: it does not follow the nodes' protocol: "
            assert caught.value.message.startswith(start)
            assert problem in caught.value.message
            made.leader.end_epoch(caught.value)
            await peer.rest()
            peer.close()
            await made.start_epoch(made.follower())

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    (record,) = caplog.records
    start = "The connection to the node at 127.0.0.1 is closed: A message from another node to node 0 is invalid: "
    assert record.getMessage().startswith(start)
    assert problem in record.getMessage()
    assert record.exc_info is None


@contextlib.asynccontextmanager
async def fake_leader(made: LocalGroup, *messages: bytes, no_challenge: bytes = b"") -> AsyncIterator[list[Hello]]:
    """Listen in the leader's place, send these messages after a hello, and yield the hellos received.

    The first two connections receive `no_challenge` instead of a challenge, if that is given.
    """
    hellos: list[Hello] = []
    connections = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        peer = Peer(reader, writer)
        peer.write(no_challenge if no_challenge and len(connections) <= 2 else RECEPTION.frame(Challenge(NONCE)))
        with contextlib.suppress(ConnectionLost, ConnectionError):
            hellos.append(await peer.receive(HELLO))
            for each in messages:
                peer.write(each)
            await reader.read()
        peer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", made.config(0).control_port)
    try:
        yield hellos
    finally:
        for member in made.followers:
            await member.close()
        server.close()
        await asyncio.wait([task for task in connections if task is not None], timeout=5)


FOREIGN_CHALLENGES = {
    **INVALID,
    "challenge: Object missing required field `nonce`": packed({"type": "challenge"}),
    "challenge: Expected `str` matching regex": packed({"type": "challenge", "nonce": "x"}),
    "Welcome is not expected now": RECEPTION.frame(Welcome()),
    "its type 'Begin' is unknown": BEGIN,
}


@pytest.mark.parametrize(("problem", "sent"), FOREIGN_CHALLENGES.items())
def test_a_follower_logs_an_invalid_leader_and_retries(
    caplog: pytest.LogCaptureFixture, problem: str, sent: bytes
) -> None:
    """The same reason once."""

    async def scenario() -> None:
        made = LocalGroup()
        async with fake_leader(made, RECEPTION.frame(Welcome()), BEGIN, no_challenge=sent):
            member = made.follower()
            assert await asyncio.wait_for(member.wait_for_peers(made.shown.append), 5) == AGREEMENT
        assert made.shown.count("Waiting for node 0 at 127.0.0.1") == 3

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    (record,) = caplog.records
    start = "What listens at 127.0.0.1 is no node 0: A message from node 0 to a host is invalid: "
    assert record.getMessage().startswith(start)
    assert problem in record.getMessage()


FOREIGN_MESSAGES = {
    **INVALID,
    "its type 'Idle' is unknown": packed({"type": "Idle"}),
    "its type 'welcome' is unknown": packed({"type": "welcome"}),
    **{
        f"Begin: Expected `{kind} - at `$.agreement.max_model_len`": packed(
            {"type": "Begin", "agreement": {"max_model_len": length}}
        )
        for kind, length in (
            ("int | null`, got `str`", "4k"),
            ("int | null`, got `bool`", True),
            ("int` >= 1", -1),
            ("int | null`, got `float`", 1.5),
            ("int | null`, got `array`", []),
        )
    },
    "End: Object missing required field `error`": packed({"type": "End"}),
}


@pytest.mark.parametrize(("problem", "sent"), FOREIGN_MESSAGES.items())
def test_a_leader_that_sends_an_invalid_message_is_lost(
    caplog: pytest.LogCaptureFixture, problem: str, sent: bytes
) -> None:
    """Before an epoch, the follower connects again; in one, it ends its workers."""

    async def scenario() -> None:
        made = LocalGroup()
        welcome = RECEPTION.frame(Welcome())
        async with fake_leader(made, welcome, sent) as hellos:
            waiting = asyncio.create_task(made.follower().wait_for_peers(made.shown.append))
            while len(hellos) < 2:
                await asyncio.sleep(0.01)
            waiting.cancel()
        async with fake_leader(made, welcome, BEGIN, sent):
            member = made.follower()
            assert await asyncio.wait_for(member.wait_for_peers(made.shown.append), 5) == AGREEMENT
            with pytest.raises(NodeLost) as caught:
                await asyncio.wait_for(member.wait_for_failure(), 5)
            start = "Node 0 (127.0.0.1) is gone: it does not follow the nodes' protocol: "
            assert caught.value.message.startswith(start)
            assert problem in caught.value.message

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert problem in caplog.records[0].getMessage()
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("message", [Begin(AGREEMENT), Taken("127.0.0.2")])
def test_a_message_of_the_leader_at_the_wrong_time_is_an_error(message: FromLeader) -> None:
    async def scenario() -> None:
        made = LocalGroup()
        async with fake_leader(made, RECEPTION.frame(Welcome()), BEGIN, FROM_LEADER.frame(message)):
            member = made.follower()
            await asyncio.wait_for(member.wait_for_peers(made.shown.append), 5)
            with pytest.raises(NodeLost, match=f"protocol: {type(message).__name__} is not expected now"):
                await asyncio.wait_for(member.wait_for_failure(), 5)

    asyncio.run(scenario())


def test_nodes_with_the_same_secret_connect() -> None:
    async def scenario() -> None:
        async with local_group(3, secret=SECRET) as made:
            assert await made.start_epoch(made.follower(1), made.follower(2)) == [AGREEMENT] * 3

    asyncio.run(scenario())


def test_a_taken_rank_is_shown_with_a_secret_too() -> None:
    async def scenario() -> None:
        async with local_group(secret=SECRET) as made:
            await made.start_epoch(made.follower())
            second = asyncio.create_task(made.follower().wait_for_peers(made.shown.append))
            async with asyncio.timeout(5):
                while "Waiting for node 0, which has a node 1 at 127.0.0.1" not in made.shown:
                    await asyncio.sleep(0.01)
            second.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("leaders_secret", "followers_secret", "says"),
    [
        (SECRET, OTHER, "Node 1 has another secret than node 0."),
        (SECRET, None, "Node 1 has no secret, and node 0 has one."),
        (None, SECRET, "Node 1 has a secret, and node 0 has none."),
    ],
)
def test_a_node_without_the_secret_is_rejected(
    caplog: pytest.LogCaptureFixture, leaders_secret: bytes | None, followers_secret: bytes | None, says: str
) -> None:
    async def scenario() -> None:
        async with gathering(leaders_secret) as made:
            made.secret = followers_secret
            with pytest.raises(UsageError) as caught:
                # The versions are not compared: an unauthenticated host does not learn the leader's.
                other = made.follower(info=msgspec.structs.replace(INFO, version="9"))
                await asyncio.wait_for(other.wait_for_peers(made.shown.append), 5)
            assert str(caught.value) == f"{says} {SAME}"
            made.secret = leaders_secret

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert f"The node at 127.0.0.1 is refused: {says}" in caplog.text


@pytest.mark.parametrize("odd", ["nothing", "another nonce", "the leader's", "another rank", "no nonce", "é" * 64, ""])
def test_a_proof_is_valid_for_one_challenge_role_and_rank(odd: str) -> None:
    """A replayed proof, one of the other role, and values that are no proof."""

    async def scenario() -> None:
        async with gathering(SECRET) as made:
            peer = await connected(made)
            challenge = await peer.receive(RECEPTION)
            assert isinstance(challenge, Challenge)
            right = (SECRET, FOLLOWER, 1, challenge.nonce, NONCE)
            wrong = {
                "another nonce": (SECRET, FOLLOWER, 1, NONCE, NONCE),
                "the leader's": (SECRET, LEADER, 1, challenge.nonce, NONCE),
                "another rank": (SECRET, FOLLOWER, 2, challenge.nonce, NONCE),
                "no nonce": right,
            }
            sent = proof(*wrong[odd]) if odd in wrong else odd
            assert (sent == proof(*right)) == (odd == "no nonce")
            nonce = None if odd == "no nonce" else NONCE
            peer.send(HELLO, Hello(rank=1, terms=INFO.terms(), nonce=nonce, proof=sent))
            refused = await peer.receive(RECEPTION)
            assert isinstance(refused, Refused)
            assert refused.error.message == "Node 1 has another secret than node 0."
            assert await peer.rest() == b""
            peer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("welcome", [Welcome(), Welcome("0" * 64), Welcome("é"), Welcome("")])
def test_a_follower_rejects_a_leader_without_its_secret(welcome: Reception) -> None:
    async def scenario() -> None:
        made = LocalGroup(secret=SECRET)
        async with fake_leader(made, RECEPTION.frame(welcome), BEGIN) as hellos:
            with pytest.raises(UsageError, match="does not prove that it has this node's secret"):
                await asyncio.wait_for(made.follower().wait_for_peers(made.shown.append), 5)
            sent = HELLO.encode(hellos[0])
            assert SECRET not in sent
            assert SECRET.hex().encode() not in sent

    asyncio.run(scenario())


def test_a_follower_with_a_secret_takes_no_order_before_the_welcome() -> None:
    async def scenario() -> None:
        made = LocalGroup(secret=SECRET)
        async with fake_leader(made, BEGIN) as hellos:
            waiting = asyncio.create_task(made.follower().wait_for_peers(made.shown.append))
            while len(hellos) < 2:
                await asyncio.sleep(0.01)
            assert not waiting.done()
            waiting.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory."),
        (b" \n", "has 0 characters, and needs at least 16."),
        (b"0123456789abcde\n", "has 15 characters, and needs at least 16."),
    ],
)
def test_an_unusable_secret_file_is_an_error(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_secret(file)
    assert caught.value.message == f"The nodes' secret in {file} {says}"


def test_a_secret_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"0123456789abcdef\n")
    assert read_secret(file) == b"0123456789abcdef"
