"""The steps `evaluate`, `gate` and `publish`: from a model folder to the champion, or to a refusal."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from engine import (
    ChampionMoved,
    EngineConfig,
    Model,
    Text,
    build_engine,
    read_manifest,
    write_json,
)
from reranker.evaluation import RANDOM, read_report, report_data
from reranker.evaluation import write_json as write_report
from trainer.groups import read_groups
from trainer.rounds.collect import FILE, suites_of
from trainer.rounds.evaluate import Measurer
from trainer.rounds.folder import read_json
from trainer.rounds.gate import Pair, decide
from trainer.rounds.train import link_tree
from trainer.rounds.work import Work

_CHECKED = 4
"""Prompts of the groups whose log-probabilities the server computes again before it serves the model."""


async def evaluate(work: Work, folder: Path) -> None:
    """Champion and challenger on every suite; the reports as files, `<suite>.<who>.json`."""
    suites = suites_of(work)
    config = work.config.trainer
    challenger = challenger_of(work)
    measurer = Measurer(
        work.store,
        work.folder.path.parent / "evaluated",
        config.evaluation,
        threads=config.threads,
        told=work.told,
    )
    pairs = await measurer.pairs(suites, work.parent, challenger, config.dtypes)
    names = []
    for number, (suite, pair) in enumerate(zip(suites, pairs, strict=True)):
        name = f"{number}-{suite.name}"
        names.append({"file": name, "suite": suite.name})
        for who, report in reports_by_who(pair).items():
            write_report(folder / f"{name}.{who}.json", report_data(report))
            if who != "unquantised":
                values = {each.name: each.estimate.value for each in report.measures() if each.k == 1}
                shown = ", ".join(f"{key} {100 * value:.1f}" for key, value in values.items())
                work.told.line(f"{suite.name}, {who}: {shown}")
    write_json(folder / "evaluation.json", {"suites": names, "self_check": await _self_check(work, challenger)})


def reports_by_who(pair: Pair) -> dict[str, Any]:
    """The reports that there are, by who was measured."""
    found = {"champion": pair.champion, "challenger": pair.challenger, "unquantised": pair.unquantised}
    return {who: report for who, report in found.items() if report is not None}


def challenger_of(work: Work) -> Model:
    """The new model, where the round keeps it."""
    folder = work.folder.of("convert") / work.facts.id
    return Model(folder, read_manifest(folder))


def pairs_of(folder: Path) -> list[Pair]:
    """The evaluation's reports, read back. Raises `EvaluationError` for one that is missing or damaged."""
    found = []
    for each in read_json(folder / "evaluation.json")["suites"]:
        champion, challenger, exact = (
            folder / f"{each['file']}.{who}.json" for who in ("champion", "challenger", "unquantised")
        )
        found.append(
            Pair(
                champion=read_report(champion),
                challenger=read_report(challenger),
                unquantised=read_report(exact) if exact.exists() else None,
            )
        )
    return found


async def gate(work: Work, folder: Path) -> None:
    """Yes or no, with the reasons, in `decision.json`."""
    pairs = await asyncio.to_thread(pairs_of, work.folder.of("evaluate"))
    decision = decide(pairs, work.config.trainer.gate)
    write_json(folder / "decision.json", asdict(decision))
    work.told.line(("passed: " if decision.passed else "refused: ") + decision.reason)


def decision_of(work: Work) -> dict[str, Any]:
    """What the gate said."""
    found: dict[str, Any] = read_json(work.folder.of("gate") / "decision.json")
    return found


async def publish(work: Work, folder: Path) -> None:
    """Put the model into the store and point to it; of one that was refused only the refusal.

    A champion that somebody else has set meanwhile stays: the model is in the store then, and no more.
    """
    decision = decision_of(work)
    if not decision["passed"]:
        reason = "; ".join(decision["reasons"])
        work.store.refuse(work.facts.id, round=work.facts.round, reason=reason, evaluation=_summary(work))
        write_json(folder / "published.json", {"as": "nothing", "reason": reason})
        return
    model = await asyncio.to_thread(_put, work)
    role, reason = work.config.trainer.publish, "; ".join(decision["reasons"])
    try:
        if work.store.champion_id() == model.id:
            role = "champion"  # so it was made when the round was cut short just behind this, or by a contest since
        elif role == "champion":
            work.store.set_champion(work.parent.id, model.id)
        elif role != "none":
            share = work.config.trainer.share
            work.store.set_challenger(work.parent.id, model.id, mode=role, share=share)
    except ChampionMoved as error:
        role, reason = "none", f"{error}; {model.id} is in the store: touchstone train promote"
        work.told.line(reason)
    write_json(folder / "published.json", {"as": role, "reason": reason})
    work.told.line(f"{model.id}: {role if role != 'none' else 'in the store'}")


def _put(work: Work) -> Model:
    """The model in the store; it is there already where a round was cut short just behind this."""
    challenger = challenger_of(work)
    found = {model.id: model for model in work.store.list()}.get(work.facts.id)
    if found is not None and dict(found.manifest.checksums) == dict(challenger.manifest.checksums):
        return found
    manifest = challenger.manifest
    with work.store.add(
        family=manifest.family,
        size=manifest.size,
        round=manifest.round,
        id=manifest.id,
        parent=manifest.parent,
        source=manifest.source,
    ) as draft:
        for part in (path for path in challenger.folder.iterdir() if path.is_dir()):
            link_tree(part, draft.folder / part.name)
        draft.evaluation = _summary(work)
    return work.store.get(work.facts.id)


def _summary(work: Work) -> dict[str, Any]:
    """What a manifest says of the evaluation."""
    folder = work.folder.of("evaluate")
    suites = []
    for pair in pairs_of(folder):
        measures = [
            {"measure": each.name, "k": each.k, **asdict(each.estimate)}
            for each in pair.challenger.measures()
            if each.k == 1 or each.name not in ("greedy", RANDOM)
        ]
        suites.append({"suite": pair.challenger.suite.name, "problems": pair.challenger.counts.judged, "of": measures})
    self_check = read_json(folder / "evaluation.json")["self_check"]
    return {"suites": suites, "gate": decision_of(work), "self_check": self_check}


async def _self_check(work: Work, challenger: Model) -> list[dict[str, Any]]:
    """What the served conversion gives for a few texts; a server that computes something else does not switch to it."""
    path = work.folder.of("samples") / FILE
    completed = (group for group in read_groups(path) if group.prompt["kind"] == "text" and group.responses)
    texts = [(group.prompt["text"], group.responses[0].text) for group in islice(completed, _CHECKED)]
    config = work.config.trainer
    engine = await build_engine(
        EngineConfig(model=str(challenger.folder), dtype=config.dtypes[0], threads=config.threads), work.store
    )
    found = []
    try:
        for prompt, completion in texts:
            [scored] = await engine.score(Text(prompt), [completion])
            if scored.tokens:
                mean = sum(token.logprob for token in scored.tokens) / len(scored.tokens)
                found.append({"prompt": prompt, "completion": completion, "mean_logprob": mean})
    finally:
        await engine.aclose()
    return found
