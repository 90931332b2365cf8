"""ChatOpenAI of langchain-openai: required tools, and structured output by a tool."""

import asyncio
from functools import partial
from typing import Literal

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field
from report import inputs, report_all


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

both = model.bind_tools([weather, clock], tool_choice="clock")


def called(choice):
    (call,) = model.bind_tools([weather], tool_choice=choice).invoke(message).tool_calls
    return {"call": call, "result": weather.invoke(call).content}


def streamed():
    first, *rest = model.bind_tools([weather], tool_choice="weather").stream(message)
    return sum(rest, first).tool_calls


def structured(form):
    found = model.with_structured_output(form, method="function_calling").invoke(message)
    return found if isinstance(form, dict) else found.model_dump()


report_all(
    {
        **{str(choice): partial(called, choice) for choice in ("any", "required", True, "weather")},
        "no parameters": lambda: both.invoke(message).tool_calls,
        "no parameters, async": lambda: asyncio.run(both.ainvoke(message)).tool_calls,
        "stream": streamed,
        **{form.__name__: partial(structured, form) for form in (Place, Trip)},
        **{f"{form.__name__}, dict": partial(structured, form.model_json_schema()) for form in (Place, Trip)},
    }
)
