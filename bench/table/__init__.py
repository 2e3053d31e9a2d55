"""`touchstone bench table`: engine x type -> memory, ms a token, tokens a second, pass@1, all in one run.

rows.py       which engine in which type; the folder each loads
worker.py     the process that holds one engine, in whatever environment that engine lives
processes.py  those processes, seen from their parent: asked, timed in turns, weighed
work.py       the story: convert, weigh, time, judge; a row that cannot run keeps its reason
result.py     what was found, and its JSON
show.py       on a terminal
page.py       as an HTML page with plots

docs/benchmarks.md says what each figure means.
"""
