"""The MariTalk wire: schemas, routes and errors."""
