"""Comparisons, not shipped: each module is a command that prints ratios taken side by side in one run.

Machines are noisy and shared, so an absolute time means little; nothing here is asserted by a test.
"""
