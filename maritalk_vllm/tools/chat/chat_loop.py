"""Questions and answers, one after the other, until there are no more."""

import contextlib
from collections.abc import Iterable

from ...errors import MariTalkError, RequestError
from ...language import say
from ...translation import translated
from . import slash_commands
from .answer import Answer
from .context_trimming import too_many
from .session import Session


class Chat:
    """Asks what it is given. `attended`: somebody sits there, who may stop an answer and ask another question."""

    def __init__(self, session: Session, *, attended: bool) -> None:
        self._session = session
        self._attended = attended
        self._text = ""
        """What has come of the answer that is under way."""

    def run(self, lines: Iterable[str]) -> bool:
        """Answer each line, or obey it, to the last. Raises KeyboardInterrupt if unattended.

        Returns whether all went well; whoever sat there has seen what did not.
        """
        all_well = True
        with contextlib.suppress(slash_commands.Leave):
            for line in lines:
                if line.strip():
                    all_well &= self._survive(line)
        return all_well or self._attended

    def ask(self, question: str) -> bool:
        """Ask, show the answer and remember both; whether it was answered. An answer that is stopped is one."""
        session, self._text = self._session, ""
        try:
            self._wait()
            self._answer(question)
        except KeyboardInterrupt:
            self._stopped(question)
            if not self._attended:
                raise
        except MariTalkError as error:
            session.screen.error(translated(str(error)))
            self._look_after()
            return False
        finally:
            session.screen.end()
        return True

    def _survive(self, line: str) -> bool:
        try:
            return self._take(line)
        except KeyboardInterrupt:  # once more, while what the first had stopped was tidied up
            if not self._attended:
                raise
            return True

    def _take(self, line: str) -> bool:
        twice = slash_commands.SIGN * 2
        if not line.startswith(slash_commands.SIGN) or line.startswith(twice):
            return self.ask(line[1:] if line.startswith(twice) else line)
        try:
            slash_commands.obey(self._session, line)
        except MariTalkError as error:
            self._session.screen.error(translated(str(error)))
            return False
        return True

    def _answer(self, question: str) -> None:
        session = self._session
        try:
            self._hear(question)
        except RequestError as refused:
            # The server knows best what fits. Only when it says no is it asked for figures.
            excess = too_many(session.client, session.conversation, question, session.parameters.max_tokens)
            if not excess:
                raise refused
            session.conversation.forget(excess)
            session.screen.note(
                say("The context is full. Oldest turns that are not sent any more: {count}.", count=excess)
            )
            self._hear(question)

    def _hear(self, question: str) -> None:
        session = self._session
        asked = session.client.answer(session.conversation.messages(question), dict(session.parameters.fields))
        # However this ends, the connection is closed, by which the server knows that nobody listens any more.
        with contextlib.closing(asked):
            for part in asked:
                if isinstance(part, Answer):
                    self._whole(question, part)
                elif part:
                    self._text += part
                    session.screen.piece(part)
                else:
                    session.screen.begin()

    def _whole(self, question: str, answer: Answer) -> None:
        session, self._session.last, self._text = self._session, answer, ""
        session.conversation.add(question, answer.text)
        if answer.was_cut:
            longer = f"{slash_commands.named('parameters')} max_tokens={2 * session.parameters.max_tokens}"
            limit = session.parameters.max_tokens
            told = say(
                "The answer was cut at {limit} tokens. {command} lets it be longer.", limit=limit, command=longer
            )
            session.screen.note(told)
        if session.shows_times:
            session.screen.note(answer.times())

    def _stopped(self, question: str) -> None:
        session = self._session
        if self._text:
            session.conversation.add(question, self._text)
            session.screen.note(say("Stopped. What came is kept."))
        else:
            session.screen.note(say("Stopped."))

    def _wait(self) -> bool:
        """Until the server does not load any more; whether that took a while."""
        screen = self._session.screen
        return self._session.client.wait(lambda: screen.note(say("The model is being loaded. This waits for it.")))

    def _look_after(self) -> None:
        """After a question that failed: the engine may have died, and is waited for before the next is asked."""
        if not self._attended:
            return
        with contextlib.suppress(MariTalkError, KeyboardInterrupt):
            if self._wait():
                self._session.screen.note(say("The model is there again."))
