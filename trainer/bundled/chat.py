"""A request in plain words, as chats hold it: the model answers with the whole function.

The chat template turns the words into comment lines, so that what the model sees is Python all the way.
"""

from random import Random

from trainer.bundled.compose import Problem
from trainer.bundled.table import ALL

OPENINGS = (
    "Write a function",
    "Write a Python function",
    "Write a function",
    "Please write a function",
    "I need a function",
)
VERBS = {phrase.split()[0] for step in ALL for phrase in step.says} | {"compute", "find", "get", "count", "check"}
CHAT_TEMPLATE = (
    "{{ bos_token }}{% set asked = (messages | selectattr('role', 'equalto', 'user') | list | last)['content'] %}"
    "{% if 'def ' in asked %}{{ asked }}{% else %}"
    "{% for line in asked.strip().split('\\n') %}{{ '# ' ~ line ~ '\\n' }}{% endfor %}{% endif %}"
)
"""The last user message: a function's header is completed as it stands, words become a comment."""


def commented(text: str) -> str:
    """What the chat template makes of a message without a function in it."""
    return "".join(f"# {line}\n" for line in text.strip().split("\n"))


def draw_request(random: Random, problem: Problem) -> str:
    """Put a problem as somebody would in a chat: its sentence, its name where it matters, its examples."""
    sentence = problem.sentence
    if random.random() < 0.5:
        sentence = _opened(random, sentence, problem.name if problem.shown or random.random() < 0.3 else "")
    return "\n".join((sentence, *problem.shown))


def _opened(random: Random, sentence: str, name: str) -> str:
    """Put "Write a function" in front of a sentence."""
    opening = random.choice(OPENINGS) + (f" {random.choice(('called', 'named'))} {name}" if name else "")
    verb, _, rest = sentence.partition(" ")
    if verb == "Return":
        return f"{opening} that returns {rest}"
    if verb.lower() in VERBS:
        return f"{opening} to {verb.lower()} {rest}"
    return f"{opening}. {sentence}"
