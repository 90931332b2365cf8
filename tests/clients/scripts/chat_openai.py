"""ChatOpenAI of langchain-openai: required tools, and structured output by a tool."""

import asyncio
from typing import Literal

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field
from report import inputs, report


class Place(BaseModel):
    """A place on the map."""

    city: Literal["Recife", "Manaus"]
    degrees: int = Field(ge=-90, le=90)


class Trip(BaseModel):
    """A trip from one place to another."""

    begin: Place
    end: Place
    by_boat: bool


@tool
def weather(city: Literal["Recife", "Manaus"], days: int = 1) -> str:
    """Tells the weather of a city."""
    return f"{city}, {days}"


@tool
def clock() -> str:
    """Tells the time."""
    return "12:00"


model = ChatOpenAI(
    model="demo", base_url=inputs["base_url"], api_key="key", temperature=0, max_tokens=200, max_retries=0
)
message = inputs["message"]

for choice in ("any", "required", True, "weather"):
    answer = model.bind_tools([weather], tool_choice=choice).invoke(message)
    report(f"{choice}", answer.tool_calls)
    report(f"{choice}, called", weather.invoke(answer.tool_calls[0]).content)
both = model.bind_tools([weather, clock], tool_choice="clock")
report("no parameters", both.invoke(message).tool_calls)
report("no parameters, async", asyncio.run(both.ainvoke(message)).tool_calls)

whole = None
for chunk in model.bind_tools([weather], tool_choice="weather").stream(message):
    whole = chunk if whole is None else whole + chunk
report("stream", whole.tool_calls)

for form in (Place, Trip):
    name = form.__name__
    report(name, model.with_structured_output(form, method="function_calling").invoke(message).model_dump())
    schema = form.model_json_schema()
    report(f"{name}, dict", model.with_structured_output(schema, method="function_calling").invoke(message))
