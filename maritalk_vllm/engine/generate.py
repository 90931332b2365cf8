"""A prompt to the engine and its whole answer, through vLLM's EngineClient alone."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import EngineError, MariTalkError, RequestError, Unavailable

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient
    from vllm.inputs import EngineInput
    from vllm.outputs import RequestOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose tokens. Temperature 0 is greedy, and then `top_p` and `seed` have no part in it."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer. Times in seconds, from the engine's own clock; they add up to its time in the engine."""

    text: str
    queue_time: float
    prompt_time: float
    generation_time: float


class Generator:
    """Answers prompts with a vLLM engine. `chat_template` (a file or the template itself) replaces the model's own."""

    def __init__(self, client: "EngineClient", chat_template: str | None = None) -> None:
        from vllm.renderers import ChatParams
        from vllm.renderers.chat_utils import load_chat_template

        self._client = client
        self._chat = ChatParams(
            chat_template=load_chat_template(chat_template), chat_template_kwargs={"add_generation_prompt": True}
        )

    @property
    def unfinished_requests(self) -> int:
        """How many requests wait or run, whichever route they came by."""
        return int(self._client.get_num_unfinished_requests())

    async def complete(self, prompt: str | Sequence[Message], sampling: Sampling) -> Completion:
        """Complete a text, or answer a chat with the chat template. Cancelled, it frees its place in the engine.

        Raises RequestError for a prompt that the model cannot take, Unavailable and EngineError.
        """
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        with _vllm_errors():
            rendered = await self._render(prompt)
            self._check_length(rendered, sampling.max_tokens)
            parameters = SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                stop=list(sampling.stop),
                seed=sampling.seed,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            async for output in self._client.generate(rendered, parameters, request_id=uuid.uuid4().hex):
                if output.finished:
                    return _completion(output)
        raise EngineError("The engine ended the request without an answer.")

    async def _render(self, prompt: str | Sequence[Message]) -> "EngineInput":
        """The prompt as tokens."""
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        if isinstance(prompt, str):
            parsed = parse_model_prompt(self._client.model_config, prompt)
            (rendered,) = await self._client.renderer.render_cmpl_async([parsed])
        else:
            conversation = [{"role": message.role, "content": message.content} for message in prompt]
            _, (rendered,) = await self._client.renderer.render_chat_async([conversation], self._chat)
        return rendered

    def _check_length(self, rendered: "EngineInput", max_tokens: int) -> None:
        prompt_tokens = len(rendered["prompt_token_ids"])
        limit = self._client.model_config.max_model_len
        if prompt_tokens + max_tokens > limit:
            raise RequestError(
                f"The prompt has {prompt_tokens} tokens and max_tokens is {max_tokens}: "
                f"together {prompt_tokens + max_tokens}, over this model's limit of {limit}.",
                "Shorten the prompt or lower max_tokens.",
            )


def _completion(output: "RequestOutput") -> Completion:
    times = output.metrics
    # A request that stopped before its first token, and an engine without statistics, have no times.
    scheduled = times.scheduled_ts or times.queued_ts
    first = times.first_token_ts or scheduled
    return Completion(
        text=output.outputs[0].text,
        queue_time=scheduled - times.queued_ts,
        prompt_time=first - scheduled,
        generation_time=max(times.last_token_ts, first) - first,
    )


@contextlib.contextmanager
def _vllm_errors() -> Iterator[None]:
    """The border: vLLM's errors become ours."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except MariTalkError:
        raise
    except GracefulHTTPError as error:
        raise Unavailable("The server has as many requests as it can take.", "Try again in a moment.") from error
    except (VLLMClientError, ValueError) as error:
        # str() of vLLM's own adds the parameter's name in its terms.
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise RequestError(f"The model cannot take this request: {reason}") from error
    except EngineDeadError as error:
        raise Unavailable("The engine has stopped.", "The server's log says why.") from error
    except EngineGenerateError as error:
        raise EngineError("The engine failed on this request.", "The server's log says why.") from error
