"""A chat with a pretended server, and what it writes."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from maritalk_vllm.tools.chat.chat_client import ChatClient
from maritalk_vllm.tools.chat.chat_loop import Chat
from maritalk_vllm.tools.chat.conversation import Conversation
from maritalk_vllm.tools.chat.server_address import ServerAddress
from maritalk_vllm.tools.chat.session import Session
from maritalk_vllm.tools.chat.terminal_output import TerminalOutput
from tests.tools.chat.pretended import Pretended, pretended


@dataclass
class Chatting:
    """`out` is stdout, `notes` stderr."""

    model: Pretended
    session: Session
    chat: Chat
    out: io.StringIO
    notes: io.StringIO

    def says(self, *lines: str) -> bool:
        return self.chat.run(lines)

    def runs(self, lines: Iterable[str]) -> bool:
        return self.chat.run(lines)


@contextmanager
def chatting(*, attended: bool = False, system: str = "", **options: Any) -> Iterator[Chatting]:
    out, notes = io.StringIO(), io.StringIO()
    with pretended(**options) as (model, server), ChatClient(ServerAddress(url=server.url)) as client:
        screen = TerminalOutput(out, notes, labelled=attended)
        session = Session(client=client, screen=screen, conversation=Conversation(system))
        yield Chatting(model, session, Chat(session, attended=attended), out, notes)
