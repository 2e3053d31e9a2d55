"""Groups: prompts with their judged responses, from the log, from files and from fresh samples.

`groups_from` (build.py) is the story of those from the log.
"""

from trainer.groups.build import Told, groups_from, lines_from
from trainer.groups.contaminated import Contamination
from trainer.groups.draft import came_to_end
from trainer.groups.extend import has_contrast, with_answers
from trainer.groups.files import content_hash, read_groups, to_line, write_groups, write_lines
from trainer.groups.ladder import TEACHER_BUMP, is_desirable, judged, place, score_of
from trainer.groups.pairs import Render, preferences, unpaired
from trainer.groups.reading import LINES, Lines, logged_lines
from trainer.groups.runs import Runs, Verdict, verdict_of
from trainer.groups.settings import LIMITS, Settings
from trainer.groups.split import HELD_OUT_SHARE, draw, split_of
from trainer.groups.tally import Tally
from trainer.groups.task import task_of
from trainer.groups.teachers import Solution, Teachers, read_teachers
from trainer.groups.types import Group, Response, Source, Split, Word

__all__ = [
    "HELD_OUT_SHARE",
    "LIMITS",
    "LINES",
    "TEACHER_BUMP",
    "Contamination",
    "Group",
    "Lines",
    "Render",
    "Response",
    "Runs",
    "Settings",
    "Solution",
    "Source",
    "Split",
    "Tally",
    "Teachers",
    "Told",
    "Verdict",
    "Word",
    "came_to_end",
    "content_hash",
    "draw",
    "groups_from",
    "has_contrast",
    "is_desirable",
    "judged",
    "lines_from",
    "logged_lines",
    "place",
    "preferences",
    "read_groups",
    "read_teachers",
    "score_of",
    "split_of",
    "task_of",
    "to_line",
    "unpaired",
    "verdict_of",
    "with_answers",
    "write_groups",
    "write_lines",
]
