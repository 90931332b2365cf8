"""State of a chat session."""

from dataclasses import dataclass, field

from .answer import Answer
from .chat_client import ChatClient
from .conversation import Conversation
from .sampling_parameters import SamplingParameters
from .terminal_output import TerminalOutput
from .transcript import Transcript


@dataclass(slots=True, kw_only=True)
class Session:
    """One chat with one server: conversation, sampling parameters, output and transcript file."""

    client: ChatClient
    screen: TerminalOutput
    conversation: Conversation
    parameters: SamplingParameters = field(default_factory=SamplingParameters)
    transcript: Transcript = field(default_factory=Transcript)
    last_answer: Answer | None = None
    """The last complete answer."""
    shows_times: bool = False
    """Whether the times of each answer are printed after it."""
