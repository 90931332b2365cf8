"""Which of the oldest turns have to go, for a question to fit into the model's context."""

import bisect

from .chat_client import ChatClient
from .conversation import Conversation


def too_many(client: ChatClient, conversation: Conversation, question: str, max_tokens: int) -> int:
    """How many turns are too many, by the server's own count of tokens: the fewest without which the question fits.

    0 where length is not what was wrong, where the question does not even fit alone, and where the server does not
    count. Raises MariTalkError.
    """

    def fits(without: int) -> bool:
        room = client.count(conversation.messages(question, without=without))
        return room is not None and room.tokens + max_tokens <= room.context

    all_of_them = conversation.remembered
    if all_of_them == 0 or fits(0) or not fits(all_of_them):
        return 0
    return bisect.bisect_left(range(all_of_them), True, lo=1, key=fits)
