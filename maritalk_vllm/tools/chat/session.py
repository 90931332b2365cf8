"""All that a chat has at hand: what was said, how it goes on, and where it is seen."""

from dataclasses import dataclass, field

from .answer import Answer
from .chat_client import Client
from .conversation import Conversation
from .sampling_parameters import Parameters
from .terminal_output import Screen
from .transcript import Record


@dataclass(slots=True, kw_only=True)
class Session:
    """One chat with one server."""

    client: Client
    screen: Screen
    conversation: Conversation
    parameters: Parameters = field(default_factory=Parameters)
    record: Record = field(default_factory=Record)
    last: Answer | None = None
    """The last whole answer."""
    shows_times: bool = False
    """Whether each answer is followed by its times."""
