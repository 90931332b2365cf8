"""How many of the oldest turns to drop for a question to fit into the model's context."""

import bisect

from .chat_client import ChatClient
from .conversation import Conversation


def turns_to_drop(client: ChatClient, conversation: Conversation, question: str, max_tokens: int) -> int:
    """The fewest oldest turns without which the question fits, by the server's own token count.

    0 where everything fits, where the question does not even fit alone, and where the server cannot count tokens.
    Raises MariTalkError.
    """

    def fits(skip: int) -> bool:
        usage = client.count(conversation.messages(question, skip=skip))
        return usage is not None and usage.tokens + max_tokens <= usage.max_model_len

    all_turns = conversation.active_turns
    if all_turns == 0 or fits(0) or not fits(all_turns):
        return 0
    return bisect.bisect_left(range(all_turns), True, lo=1, key=fits)
