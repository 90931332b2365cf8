"""A chat connected to a fake server, with captured output."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from maritalk_vllm.tools.chat.chat_client import ChatClient
from maritalk_vllm.tools.chat.chat_loop import Chat
from maritalk_vllm.tools.chat.conversation import Conversation
from maritalk_vllm.tools.chat.session import Session
from maritalk_vllm.tools.chat.terminal_output import TerminalOutput
from maritalk_vllm.tools.server_address import ServerAddress
from tests.tools.chat.fake_server import FakeServer, fake_server


@dataclass
class ChatHarness:
    """A chat with its server; `out` captures stdout, `notes` captures stderr."""

    model: FakeServer
    session: Session
    chat: Chat
    out: io.StringIO
    notes: io.StringIO

    def send(self, *lines: str) -> bool:
        return self.chat.run(lines)

    def runs(self, lines: Iterable[str]) -> bool:
        return self.chat.run(lines)


@contextmanager
def chat_with_fake_server(*, interactive: bool = False, system: str = "", **options: Any) -> Iterator[ChatHarness]:
    out, notes = io.StringIO(), io.StringIO()
    with fake_server(**options) as (model, server), ChatClient(ServerAddress(url=server.url)) as client:
        screen = TerminalOutput(out, notes, labelled=interactive)
        session = Session(client=client, screen=screen, conversation=Conversation(system))
        yield ChatHarness(model, session, Chat(session, interactive=interactive), out, notes)
