"""The chat loop: reads lines, runs commands, sends questions and prints answers."""

import bisect
import contextlib
import sys
from collections.abc import Iterable

from ...errors import MariTalkError, RequestError
from ...i18n.rendering import localized, say
from . import slash_commands
from .answer import Answer
from .chat_client import ChatClient
from .conversation import Conversation
from .session import Session
from .typed_ahead import kept_for_the_prompt


class Chat:
    """One chat. If `interactive`, a user at a terminal may interrupt an answer and continue."""

    def __init__(self, session: Session, *, interactive: bool) -> None:
        self._session = session
        self._interactive = interactive
        self._text = ""
        """Text received so far of the current answer."""
        self._is_named = False
        """Whether the answers are labelled with the model's name, which a server says once the model is loaded."""

    def run(self, lines: Iterable[str]) -> bool:
        """Answer each line, or run it as a command. Raises KeyboardInterrupt if not interactive.

        Returns whether all lines succeeded; always true if interactive, since the user has seen the errors.
        """
        succeeded = True
        if self._interactive and (notice := self._session.client.demo_notice()):
            self._session.screen.note(localized(notice))
        with contextlib.suppress(slash_commands.ExitChat):
            for line in lines:
                if line.strip():
                    succeeded &= self._handle_line(line)
        return succeeded or self._interactive

    def ask(self, question: str) -> bool:
        """Send a question, print the answer and keep both. Returns whether it was answered, in full or interrupted."""
        session, self._text = self._session, ""
        try:
            with kept_for_the_prompt(sys.stdin) if self._interactive else contextlib.nullcontext():
                self._wait_until_loaded()
                self._name_answers()
                self._answer(question)
        except KeyboardInterrupt:
            self._keep_interrupted_answer(question)
            if not self._interactive:
                raise
        except MariTalkError as error:
            session.screen.error(localized(error.text))
            self._wait_for_recovery()
            return False
        finally:
            session.screen.end()
        return True

    def _name_answers(self) -> None:
        if self._interactive and not self._is_named:
            self._session.screen.label = self._session.client.answer_name()
            self._is_named = True

    def _handle_line(self, line: str) -> bool:
        try:
            return self._ask_or_run(line)
        except KeyboardInterrupt:  # a second one, while the first was being handled
            if not self._interactive:
                raise
            return True

    def _ask_or_run(self, line: str) -> bool:
        escaped = slash_commands.PREFIX * 2
        if not line.startswith(slash_commands.PREFIX) or line.startswith(escaped):
            return self.ask(line[1:] if line.startswith(escaped) else line)
        try:
            slash_commands.run_command(self._session, line)
        except MariTalkError as error:
            self._session.screen.error(localized(error.text))
            return False
        return True

    def _answer(self, question: str) -> None:
        session = self._session
        try:
            self._stream_answer(question)
        except RequestError as error:
            # The server decides whether the question fits. Tokens are counted only once it has rejected the question.
            excess = _turns_to_drop(session.client, session.conversation, question, session.parameters.max_tokens)
            if not excess:
                raise error
            session.conversation.drop_oldest(excess)
            session.screen.note(
                say("The context is full. Oldest turns that are not sent any more: {count}.", count=excess)
            )
            self._stream_answer(question)

    def _stream_answer(self, question: str) -> None:
        session = self._session
        stream = session.client.answer(session.conversation.messages(question), dict(session.parameters.fields))
        # Closing the stream closes the connection, on which the server aborts the request.
        with contextlib.closing(stream):
            for part in stream:
                if isinstance(part, Answer):
                    self._keep_answer(question, part)
                elif part:
                    self._text += part
                    session.screen.piece(part)
                else:
                    session.screen.begin()

    def _keep_answer(self, question: str, answer: Answer) -> None:
        session, self._session.last_answer, self._text = self._session, answer, ""
        session.conversation.add(question, answer.text)
        if answer.is_truncated:
            command = f"{slash_commands.command_name('parameters')} max_tokens={2 * session.parameters.max_tokens}"
            limit = session.parameters.max_tokens
            message = say(
                "The answer was cut at {limit} tokens. {command} lets it be longer.", limit=limit, command=command
            )
            session.screen.note(message)
        if session.shows_times:
            session.screen.note(answer.times())

    def _keep_interrupted_answer(self, question: str) -> None:
        session = self._session
        if self._text:
            session.conversation.add(question, self._text)
            session.screen.note(say("Stopped. The partial answer is kept."))
        else:
            session.screen.note(say("Stopped."))

    def _wait_until_loaded(self) -> bool:
        """Wait while the server is loading; returns whether it was."""
        screen = self._session.screen
        return self._session.client.wait_until_loaded(
            lambda: screen.note(say("The model is being loaded. This waits for it."))
        )

    def _wait_for_recovery(self) -> None:
        """After a failed question, wait for the engine, which may have died, before the next one."""
        if not self._interactive:
            return
        # The next question reports the problem; Ctrl-C ends the wait.
        with contextlib.suppress(MariTalkError, KeyboardInterrupt):
            if self._wait_until_loaded():
                self._session.screen.note(say("The model is available again."))


def _turns_to_drop(client: ChatClient, conversation: Conversation, question: str, max_tokens: int) -> int:
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
