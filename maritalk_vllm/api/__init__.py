"""MariTalk's HTTP APIs: schemas, routes and error responses."""
