"""How long a verifier takes over the distinct programs of a prompt: `python -m bench.verifier VERIFIER --data FILE`.

Wall and CPU time of the classifier and of the feature model, questions with at least 12 programs; 16 at most of each.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

from engine import FEATURES_NAME, find_verifier, load_classifier
from reranker import FeatureJudge, Judge, Question, TextJudge, read_features, read_questions

PROGRAMS, LEAST, QUESTIONS, ROUNDS = 16, 12, 20, 5


async def measure(name: str, judge: Judge, questions: list[Question]) -> None:
    await judge.judge(questions[0])
    wall, cpu = [], []
    for _ in range(ROUNDS):
        for question in questions:
            began, spent = time.perf_counter(), time.process_time()
            await judge.judge(question)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - spent)
    tenths = [statistics.quantiles(times, n=10) for times in (wall, cpu)]
    texts = ", ".join(
        f"{kind} {1e3 * cuts[4]:.1f} ms (a tenth under {1e3 * cuts[0]:.1f}, nine under {1e3 * cuts[8]:.1f})"
        for kind, cuts in zip(("wall", "CPU"), tenths, strict=True)
    )
    print(f"{name}: median {texts}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verifier")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    folder = find_verifier(options.verifier, Path())
    found = [labelled.question for labelled in read_questions(options.data)]
    questions = [
        replace(question, attempts=question.attempts[:PROGRAMS])
        for question in found
        if len(question.attempts) >= LEAST
    ][:QUESTIONS]
    programs = statistics.mean(len(question.attempts) for question in questions)
    print(f"{len(questions)} questions, {programs:.1f} distinct programs each")
    classifier = load_classifier(folder)
    try:
        await measure(f"text, {classifier.info.backend} {classifier.info.dtype}", TextJudge(classifier), questions)
    finally:
        await classifier.aclose()
    if (folder / FEATURES_NAME).is_file():
        await measure("features", FeatureJudge(read_features(folder / FEATURES_NAME)), questions)
    print("torch loaded:", "torch" in sys.modules)


if __name__ == "__main__":
    asyncio.run(main())
