"""Groups: prompts with their judged responses, from the log, from files and from fresh samples."""

from trainer.groups.types import Group, Response, Source, Split, Word

__all__ = ["Group", "Response", "Source", "Split", "Word"]
