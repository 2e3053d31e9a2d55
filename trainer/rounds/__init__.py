"""Rounds: from logged outcomes to the next model, by named steps that can be gone on with. `run_round` is the story."""
