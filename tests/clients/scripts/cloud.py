"""MariTalk, the client of the cloud, in every version of it."""

import maritalk
import requests
from report import asked, tell, tell_error

client = maritalk.MariTalk(**asked["client"])

for name, call in asked["calls"].items():
    tell(name, client.generate(**call))
tell_error("too many tokens", requests.HTTPError, lambda: client.generate(**asked["too many tokens"]))
