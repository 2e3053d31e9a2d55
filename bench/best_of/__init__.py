"""Best of n with tests: time to a verified answer, Touchstone beside what people do with `vllm serve` today.

asked.py      what every side is asked, and what it answers
ours.py       Touchstone: one request with the tests in it
separate.py   n requests, together or one after another, then the tests
together.py   one request of n choices, then the tests
optillm.py    optillm's best-of-n in front of the same server, then the tests
verify.py     the tests as those three run them: a process a program, one after another
servers.py    the processes that are asked
work.py       the sides in turns, and the table

docs/benchmarks.md says how it is run, docs/experiments.md what was measured.
"""
