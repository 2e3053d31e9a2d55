"""The pydantic models of the API: what a client may send. Replies are plain dicts, built in `server/translate`."""
