"""OpenAI's own client: the Responses API."""

import openai
from report import inputs, report, report_error

client = openai.OpenAI(base_url=inputs["base_url"], api_key="key")
system, *turns = inputs["messages"]


def create(**arguments):
    prompt = {"model": "sabia-4", "input": inputs["messages"], "temperature": 0, "max_output_tokens": 12}
    return client.responses.create(**prompt | arguments)


report("a conversation", create().model_dump())
report("instructions", create(instructions=system["content"], input=turns).output_text)
report("a text", create(input=inputs["message"]).output_text)
report("cut", create(max_output_tokens=3).model_dump())
report("streamed", [event.model_dump(exclude_unset=True) for event in create(stream=True)])
report_error("too many tokens", openai.BadRequestError, lambda: create(max_output_tokens=inputs["too many"]))
report_error("no such model", openai.NotFoundError, lambda: create(model="gpt-nope"))
