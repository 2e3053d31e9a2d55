"""Checkpoints of a tuning: written beside, renamed into place, the one before removed only then."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.errors import BadCheckpoints, OtherRun

NAME = re.compile(r"state-(\d+)")


@dataclass(frozen=True, slots=True)
class States:
    """The checkpoints in a folder. `facts` says which tuning they are of; another's are refused."""

    folder: Path
    facts: dict[str, Any]
    accelerator: Any

    def save(self, step: int, model: Any, optimizer: Any) -> None:
        """Keep the state after `step` steps. Every process calls it.

        Raises `BadCheckpoints` where it cannot be written, as on a full disk; the one before stays.
        """
        try:
            self._save(step, model, optimizer)
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter
            raise BadCheckpoints(f"checkpoints: {self.folder} cannot be written: {error}") from error

    def _save(self, step: int, model: Any, optimizer: Any) -> None:
        partial, path = self.folder / f".state-{step:07}.partial", self.folder / f"state-{step:07}"
        accelerator = self.accelerator
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        accelerator.wait_for_everyone()
        if self._is_sharded():
            accelerator.save_state(str(partial))
        elif accelerator.is_main_process:
            weights = {n: p.detach() for n, p in _inner(model, accelerator).named_parameters() if p.requires_grad}
            torch.save({"weights": weights, "optimizer": optimizer.state_dict()}, partial / "state.pt")
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (partial / "facts.json").write_text(json.dumps(self.facts), encoding="utf-8")
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
            for other in self._found():
                if other != step:
                    shutil.rmtree(self.folder / f"state-{other:07}")
        accelerator.wait_for_everyone()

    def load(self, model: Any, optimizer: Any) -> int:
        """Go back to the newest checkpoint; its step, 0 if there is none. Every process calls it.

        Raises `OtherRun`, `BadCheckpoints`.
        """
        step = max(self._found(), default=0)
        self.accelerator.wait_for_everyone()  # nobody writes while another still looks
        if not step:
            return 0
        path = self.folder / f"state-{step:07}"
        found = json.loads((path / "facts.json").read_text(encoding="utf-8"))
        for name, value in self.facts.items():
            if found.get(name) != value:
                raise OtherRun(f"checkpoints: {path} is of a tuning with {name} {found.get(name)}, not {value}")
        try:
            if self._is_sharded():
                self.accelerator.load_state(str(path))
            else:
                state = torch.load(path / "state.pt", weights_only=True, map_location="cpu")
                with torch.no_grad():
                    for name, parameter in _inner(model, self.accelerator).named_parameters():
                        if parameter.requires_grad:
                            parameter.copy_(state["weights"][name])
                optimizer.load_state_dict(state["optimizer"])
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise BadCheckpoints(f"checkpoints: {path} cannot be read: {error}") from error
        return step

    def _found(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return [int(match[1]) for path in self.folder.iterdir() if (match := NAME.fullmatch(path.name))]

    def _is_sharded(self) -> bool:
        return str(self.accelerator.distributed_type).rsplit(".", 1)[-1] in ("FSDP", "DEEPSPEED")


def _inner(model: Any, accelerator: Any) -> Any:
    return accelerator.unwrap_model(model)
