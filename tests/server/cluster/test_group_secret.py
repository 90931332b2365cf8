"""The control connection with invalid peers: connections that are no nodes, malformed messages, wrong secrets."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm.errors import EngineError, UsageError
from maritalk_vllm.server.cluster import follower as follower_module
from maritalk_vllm.server.cluster import leader as leader_module
from maritalk_vllm.server.cluster.handshake import FOLLOWER, LEADER, proof, read_secret
from tests.server.cluster.groups import INFO, LocalGroup, local_group
from tests.server.cluster.test_leader_and_follower import CHALLENGE, connected

SECRET, OTHER = b"the secret of the group", b"another group's secret!"
NONCE = "0" * 64
SAME = "Give every node the same --nodes-secret-file, or none."
HELLO = {"event": "hello", "rank": 1, "terms": INFO}

UNREADABLE: list[bytes] = [
    b"\n",
    b"null\n",
    b"[1]\n",
    b"{\n",
    b"\xff\xfe\n",
    b"[" * 100_000 + b"\n",
    b"1" * 10_000 + b"\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"x" * 3_000_000 + b"\n",
]
INVALID: list[dict[str, Any]] = [
    {},
    {"event": ["idle"]},
    {"event": "failed"},
    {"event": "failed", "error": ["EngineError"], "message": "x", "hint": ""},
    {"event": "failed", "error": "EngineError", "message": 1, "hint": None},
    {"event": "hello", "rank": 1},
    {"event": None, "nonce": 1},
]
ODD_RANKS: list[Any] = [True, 1.0, "1", None, [1], 0, -1, 2, 10**400]
ODD_TERMS: list[Any] = [[], "x", 1, None, {"model": {}}, [["model", "demo"]]]
ODD_LENGTHS: list[Any] = ["4k", -1, True, [], 1.5]
ODD_HELLOS = [*({"rank": rank} for rank in ODD_RANKS), *({"terms": terms} for terms in ODD_TERMS)]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(leader_module, "_RETRY_SECONDS", 0.02)


def line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


async def received(reader: asyncio.StreamReader) -> list[dict[str, Any]]:
    """Every message except heartbeats, until the other side disconnects."""
    messages = []
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            while data := await reader.readline():
                messages.append(json.loads(data))
    return [message for message in messages if message != {"event": "beat"}]


@contextlib.asynccontextmanager
async def gathering(secret: bytes | None = None) -> AsyncIterator[LocalGroup]:
    """A leader that waits for node 1. At the end, a valid node 1 must still be able to connect."""
    async with local_group(secret=secret) as made:
        waiting = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
        yield made
        if not waiting.done():
            # Whatever has been sent, the real node can connect.
            await asyncio.wait_for(asyncio.gather(waiting, made.follower().wait_for_peers(made.shown.append)), 5)


@pytest.mark.parametrize("sent", [*UNREADABLE, *map(line, INVALID), *(line({**HELLO, **odd}) for odd in ODD_HELLOS)])
def test_an_invalid_hello_takes_no_rank_and_logs_no_traceback(caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    async def scenario() -> None:
        async with gathering() as made:
            reader, writer = await connected(made)
            writer.write(sent)
            messages = await received(reader)
            assert [message["event"] for message in messages] in (["challenge"], ["challenge", "refused"])
            writer.close()

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.exc_info]


async def joined(made: LocalGroup) -> asyncio.StreamWriter:
    """The writer of a node 1 whose hello the leader has accepted."""
    beginning = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
    _, writer = await connected(made)
    writer.write(line(HELLO))
    await beginning
    return writer


@pytest.mark.parametrize("sent", [*UNREADABLE, *map(line, INVALID)])
def test_a_node_keeps_its_rank_after_an_invalid_message(caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    async def scenario() -> None:
        async with local_group() as made:
            writer = await joined(made)
            writer.write(sent)
            # The leader still receives what the node sends afterwards.
            writer.write(line({"event": "failed", "error": "EngineError", "message": "No memory.", "hint": ""}))
            with pytest.raises(EngineError, match=r"^Node 1 \(127.0.0.1\): No memory\.$"):
                await asyncio.wait_for(made.leader.wait_for_failure(), 5)
            assert not made.leader.has_missing_nodes
            writer.close()

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.exc_info]


def test_a_node_that_sends_only_invalid_messages_is_lost() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            writer = await joined(made)
            writer.write(b"{\n" * 200)
            with pytest.raises(EngineError, match="it does not follow the nodes' protocol"):
                await asyncio.wait_for(made.leader.wait_for_failure(), 5)
            writer.close()

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def fake_leader(made: LocalGroup, *messages: bytes) -> AsyncIterator[list[bytes]]:
    """Listen in the leader's place, send these messages after a hello, and yield the hellos received."""
    hellos: list[bytes] = []
    connections = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        writer.write(CHALLENGE)
        while b"hello" not in (data := await reader.readline()):
            pass
        hellos.append(data)
        for each in messages:
            writer.write(each)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", made.config(0).control_port)
    try:
        yield hellos
    finally:
        for member in made.followers:
            await member.close()
        server.close()
        await asyncio.wait([task for task in connections if task is not None], timeout=5)


@pytest.mark.parametrize(
    "sent",
    [
        *UNREADABLE,
        *map(line, INVALID),
        line({"event": "refused"}),
        line({"event": "refused", "error": "x", "message": ["x"], "hint": ""}),
        *(line({"event": "begin", "max_model_len": length}) for length in ODD_LENGTHS),
        line({"event": "welcome", "proof": 1}),
    ],
)
def test_a_follower_ignores_invalid_messages_of_the_leader(caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    async def scenario() -> None:
        made = LocalGroup()
        begin, end = line({"event": "begin", "max_model_len": 5}), line({"event": "end", "message": ["x"]})
        async with fake_leader(made, sent, begin, sent, end):
            member = made.follower()
            assert (await asyncio.wait_for(member.wait_for_peers(made.shown.append), 5))["max_model_len"] == 5
            with pytest.raises(EngineError, match=r"^Node 0 starts the engine again\.$"):
                await asyncio.wait_for(member.wait_for_failure(), 5)

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.exc_info]


def test_nodes_with_the_same_secret_connect() -> None:
    async def scenario() -> None:
        async with local_group(3, secret=SECRET) as made:
            assert [begin["max_model_len"] for begin in await made.start_epoch(made.follower(1), made.follower(2))] == [
                4096
            ] * 3

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
                await asyncio.wait_for(made.follower().wait_for_peers(made.shown.append), 5)
            assert str(caught.value) == f"{says} {SAME}"
            made.secret = leaders_secret

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert f"The node at 127.0.0.1 is refused: {says}" in caplog.text


@pytest.mark.parametrize("odd", ["nothing", "another nonce", "the leader's", "another rank", 1, "é" * 64, None, ["x"]])
def test_a_proof_is_valid_for_one_challenge_role_and_rank(odd: object) -> None:
    """A replayed proof, one of the other role, and values that are no proof."""

    async def scenario() -> None:
        async with gathering(SECRET) as made:
            reader, writer = await connected(made)
            while (challenge := json.loads(await reader.readline()))["event"] != "challenge":
                pass
            right = (SECRET, FOLLOWER, 1, challenge["nonce"], NONCE)
            wrong = {
                "another nonce": (SECRET, FOLLOWER, 1, NONCE, NONCE),
                "the leader's": (SECRET, LEADER, 1, challenge["nonce"], NONCE),
                "another rank": (SECRET, FOLLOWER, 2, challenge["nonce"], NONCE),
            }
            sent = proof(*wrong[odd]) if isinstance(odd, str) and odd in wrong else odd
            assert sent != proof(*right)
            writer.write(line({**HELLO, "nonce": NONCE, "proof": sent}))
            (response,) = await received(reader)
            assert (response["event"], response["message"]) == ("refused", "Node 1 has another secret than node 0.")
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "says",
    [
        [],
        [{"event": "welcome"}],
        [{"event": "welcome", "proof": "0" * 64}],
        [{"event": "welcome", "proof": "é"}],
    ],
)
@pytest.mark.parametrize("wants", ["begin", "taken"])
def test_a_follower_rejects_a_leader_without_its_secret(says: list[dict[str, Any]], wants: str) -> None:
    async def scenario() -> None:
        made = LocalGroup(secret=SECRET)
        async with fake_leader(made, *map(line, says), line({"event": wants})) as hellos:
            with pytest.raises(UsageError, match="does not prove that it has this node's secret"):
                await asyncio.wait_for(made.follower().wait_for_peers(made.shown.append), 5)
            assert SECRET not in hellos[0]
            assert SECRET.hex().encode() not in hellos[0]

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
