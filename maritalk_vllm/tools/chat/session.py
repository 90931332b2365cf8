"""All that a chat has at hand: what was said, how it goes on, and where it is seen."""

from dataclasses import dataclass, field

from .answer import Answer
from .chat_client import ChatClient
from .conversation import Conversation
from .sampling_parameters import SamplingParameters
from .terminal_output import TerminalOutput
from .transcript import Transcript


@dataclass(slots=True, kw_only=True)
class Session:
    """One chat with one server."""

    client: ChatClient
    screen: TerminalOutput
    conversation: Conversation
    parameters: SamplingParameters = field(default_factory=SamplingParameters)
    record: Transcript = field(default_factory=Transcript)
    last: Answer | None = None
    """The last whole answer."""
    shows_times: bool = False
    """Whether each answer is followed by its times."""
