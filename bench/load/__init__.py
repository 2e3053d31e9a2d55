"""`touchstone bench load`: people who type, chats and best-of-n requests, sent when their time has come, whatever
becomes of those before.

traffic.py  the plan: who sends what when, and when the next key stops it
client.py   one request of any OpenAI server, timed
work.py     the story: find the server, follow the plan, tell what is under way
result.py   what each class was answered, its percentiles, its JSON
show.py     on a terminal

docs/benchmarks.md says what each figure means.
"""
