"""From nothing to an answer and back, as the MariTalk Local document shows it."""

import sys

import maritalk
from idle import when_idle
from report import asked, tell, tell_error

sys.stdout = sys.stderr  # where the client talks to its user, also when it ends

client = maritalk.MariTalkLocal(port=asked["port"])
# Where it fails, a client that draws its progress would go on drawing for ever.
tell_error("a wrong licence", Exception, lambda: client.start_server(license="AAAAA-BBBBB", **asked["quietly"]))
client = maritalk.MariTalkLocal(port=asked["port"])
client.start_server(license=asked["license"])
# Clients before 0.2.5 take `loading` for ready, and ask at once.
tell("status at first", client.status())
tell("answer", client.generate(asked["messages"], max_tokens=8, do_sample=False))
tell("status", when_idle(client.status))
client.stop_server()
