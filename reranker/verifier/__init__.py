"""Learned judges of programs: what they see, how it is written down, and the scorers that ask them."""
