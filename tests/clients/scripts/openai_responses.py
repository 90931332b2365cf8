"""OpenAI's own client: the Responses API."""

import openai
from report import asked, tell, tell_error

client = openai.OpenAI(base_url=asked["base_url"], api_key="key")
system, *turns = asked["messages"]


def create(**arguments):
    prompt = {"model": "sabia-4", "input": asked["messages"], "temperature": 0, "max_output_tokens": 12}
    return client.responses.create(**prompt | arguments)


tell("a conversation", create().model_dump())
tell("instructions", create(instructions=system["content"], input=turns).output_text)
tell("a text", create(input=asked["message"]).output_text)
tell("cut", create(max_output_tokens=3).model_dump())
tell("streamed", [event.model_dump(exclude_unset=True) for event in create(stream=True)])
tell_error("too many tokens", openai.BadRequestError, lambda: create(max_output_tokens=asked["too many"]))
tell_error("no such model", openai.NotFoundError, lambda: create(model="gpt-nope"))
