"""Rank completions that somebody else sampled: files in, files and pictures out. `touchstone rank` is its only user.

Nothing imports it but the console command, so that it needs no door. `work.py` is the story; start there.
"""
