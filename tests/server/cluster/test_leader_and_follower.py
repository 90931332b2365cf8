"""The leader and its followers, over real connections, without an engine."""

import asyncio
from typing import Any

import msgspec
import pytest

from maritalk_vllm.errors import DoesNotFit, EngineError, MariTalkError, UsageError
from maritalk_vllm.server.cluster import control_connection as connection_module
from maritalk_vllm.server.cluster import follower as follower_module
from maritalk_vllm.server.cluster import leader as leader_module
from maritalk_vllm.server.cluster.node_lost import NodeLost
from maritalk_vllm.server.cluster.node_messages import (
    FROM_LEADER,
    HELLO,
    RECEPTION,
    Begin,
    Challenge,
    Welcome,
)
from tests.server.cluster.groups import AGREEMENT, INFO, NODE_1, LocalGroup, Peer, connected, local_group


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(leader_module, "_RETRY_SECONDS", 0.02)


def test_an_epoch_starts_when_all_nodes_are_connected() -> None:
    async def scenario() -> None:
        async with local_group(3) as made:
            first, second = made.follower(2), made.follower(1)
            assert await made.start_epoch(first, second) == [AGREEMENT] * 3
            assert "Waiting for node 1, node 2" in made.shown

    asyncio.run(scenario())


def test_a_follower_may_start_before_the_leader() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            member = asyncio.create_task(made.follower().wait_for_peers(made.shown.append))
            await asyncio.sleep(0.1)
            await made.leader.wait_for_peers(made.shown.append)
            assert (await asyncio.wait_for(member, 5)) == AGREEMENT
            assert made.shown[0] == "Waiting for node 0 at 127.0.0.1"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("other", "kind", "says"),
    [
        ({"cards": 1}, DoesNotFit, "Node 1 does not match node 0: cards 1, not 2."),
        ({"vllm": "0.33.0"}, UsageError, "vllm 0.33.0, not 0.32.0"),
        ({"vllm": "0.33.0", "cards": 1}, UsageError, "vllm 0.33.0, not 0.32.0; cards 1, not 2"),
        ({"version": "0.2.0"}, UsageError, "Node 1 does not match node 0: version 0.2.0, not 0.1.0."),
    ],
)
def test_a_node_with_other_settings_is_rejected(other: dict[str, Any], kind: type[MariTalkError], says: str) -> None:
    async def scenario() -> None:
        async with local_group() as made:
            gathering = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
            with pytest.raises(kind) as caught:
                follower = made.follower(info=msgspec.structs.replace(INFO, **other))
                await asyncio.wait_for(follower.wait_for_peers(made.shown.append), 5)
            assert says in caught.value.message
            assert not gathering.done()
            gathering.cancel()

    asyncio.run(scenario())


def test_a_rank_that_the_group_does_not_have_is_rejected() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            gathering = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
            with pytest.raises(UsageError, match=r"^Node 2 is out of range: node 0 has --nodes 2\."):
                await asyncio.wait_for(made.follower(2).wait_for_peers(made.shown.append), 5)
            assert not gathering.done()
            gathering.cancel()

    asyncio.run(scenario())


def test_a_rank_is_free_again_when_its_node_disconnects() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            first = made.follower()
            await made.start_epoch(first)
            second = asyncio.create_task(made.follower().wait_for_peers(made.shown.append))
            while not any("which has a node 1 at 127.0.0.1" in each for each in made.shown):
                await asyncio.sleep(0.01)
            await first.close()
            with pytest.raises(NodeLost):
                await made.leader.wait_for_failure()
            made.leader.end_epoch(NodeLost("gone"))
            await made.leader.wait_for_peers(made.shown.append)
            assert (await asyncio.wait_for(second, 5)) == AGREEMENT

    asyncio.run(scenario())


def test_a_follower_that_disconnects_is_lost_at_once() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            member = made.follower()
            await made.start_epoch(member)
            await member.close()
            with pytest.raises(NodeLost, match=r"Node 1 \(127.0.0.1\) is gone: it closed its connection\."):
                await asyncio.wait_for(made.leader.wait_for_failure(), 1)
            made.leader.end_epoch(NodeLost("gone"))
            assert made.leader.has_missing_nodes
            await made.start_epoch(made.follower())
            assert "Waiting for node 1 (127.0.0.1)" in made.shown
            assert not made.leader.has_missing_nodes

    asyncio.run(scenario())


def test_the_leader_loses_a_follower_without_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "TIMEOUT_SECONDS", 0.3)

    async def scenario() -> None:
        async with local_group() as made:
            gathering = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
            peer = await connected(made)
            peer.send(HELLO, NODE_1)
            await gathering
            with pytest.raises(NodeLost, match=r"Node 1 \(127.0.0.1\) is gone: no message from it"):
                await asyncio.wait_for(made.leader.wait_for_failure(), 2)
            peer.close()

    asyncio.run(scenario())


def test_a_follower_loses_a_leader_without_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "TIMEOUT_SECONDS", 0.3)

    async def send_begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        peer.send(RECEPTION, Challenge("0" * 64))
        await peer.receive(HELLO)
        peer.send(RECEPTION, Welcome())
        peer.send(FROM_LEADER, Begin(AGREEMENT))
        await asyncio.sleep(1)
        peer.close()

    async def scenario() -> None:
        made = LocalGroup()
        server = await asyncio.start_server(send_begin, "127.0.0.1", made.config(0).control_port)
        member = made.follower()
        await member.wait_for_peers(print)
        with pytest.raises(NodeLost, match=r"Node 0 \(127.0.0.1\) is gone: no message from it"):
            await asyncio.wait_for(member.wait_for_failure(), 2)
        server.close()
        await asyncio.sleep(1)

    asyncio.run(scenario())


def test_an_epoch_ends_for_all_nodes_and_the_next_starts_when_all_are_idle() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            member = made.follower()
            await made.start_epoch(member)
            made.leader.end_epoch(EngineError("The engine died."))
            with pytest.raises(NodeLost, match=r"Node 0 starts the engine again\. The engine died\."):
                await asyncio.wait_for(member.wait_for_failure(), 1)
            again = asyncio.create_task(made.leader.wait_for_peers(made.shown.append))
            await asyncio.sleep(0.1)
            assert not again.done()  # the follower's workers have not ended yet
            member.end_epoch(NodeLost("the head said so"))
            member.report_idle()
            assert (await asyncio.wait_for(member.wait_for_peers(made.shown.append), 1)) == AGREEMENT
            await again

    asyncio.run(scenario())


def test_a_follower_reports_the_cause_of_its_failure() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            member = made.follower()
            await made.start_epoch(member)
            member.end_epoch(EngineError("vLLM failed to start: no memory.", "Its log: /x"))
            member.report_idle()
            with pytest.raises(EngineError) as caught:
                await asyncio.wait_for(made.leader.wait_for_failure(), 1)
            assert not isinstance(caught.value, NodeLost)
            assert str(caught.value) == "Node 1 (127.0.0.1): vLLM failed to start: no memory. Its log: /x"
            made.leader.end_epoch(caught.value)
            await made.start_epoch(member)  # the follower receives no end of the epoch that it ended itself

    asyncio.run(scenario())


def test_another_node_may_know_why_the_engine_died() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            member = made.follower()
            await made.start_epoch(member)
            died = EngineError("The engine died.")
            asking = asyncio.create_task(made.leader.root_cause(died))
            await asyncio.sleep(0.1)
            await member.close()
            assert str(await asyncio.wait_for(asking, 1)).startswith("Node 1 (127.0.0.1) is gone")
            made.leader.end_epoch(died)
            assert await made.leader.root_cause(died) is died
            again = made.follower()
            await made.start_epoch(again)
            asking = asyncio.create_task(again.root_cause(died))
            made.leader.end_epoch(EngineError("The engine hangs."))
            assert isinstance(await asyncio.wait_for(asking, 1), NodeLost)

    asyncio.run(scenario())


def test_the_engines_own_error_is_the_cause_if_no_node_reports_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leader_module, follower_module):
        monkeypatch.setattr(module, "ROOT_CAUSE_SECONDS", 0.1)

    async def scenario() -> None:
        async with local_group() as made:
            member = made.follower()
            await made.start_epoch(member)
            died = EngineError("The engine died.")
            assert await made.leader.root_cause(died) is died
            assert await member.root_cause(died) is died

    asyncio.run(scenario())


def test_an_idle_follower_is_released_at_once() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            member = made.follower()
            await asyncio.wait_for(member.wait_until_released(), 1)
            await made.start_epoch(member)
            member.end_epoch(UsageError("The options for vLLM are wrong."))
            await asyncio.wait_for(member.wait_until_released(), 1)
            member.report_idle()
            await asyncio.wait_for(member.wait_until_released(), 1)

    asyncio.run(scenario())


def test_a_follower_is_released_when_the_leader_disconnects() -> None:
    async def scenario() -> None:
        async with local_group() as made:
            member = made.follower()
            await made.start_epoch(member)
            leaving = asyncio.create_task(member.wait_until_released())
            await asyncio.sleep(0.1)
            assert not leaving.done()
            await made.leader.close()
            await asyncio.wait_for(leaving, 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("head", ["192.0.2.1", "127.0.1.1"])
def test_the_leader_rejects_an_address_of_another_machine(head: str) -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError, match=f"--head {head} is not an address of this machine"):
            await LocalGroup(head=head).leader.wait_for_peers(print)

    asyncio.run(scenario())
