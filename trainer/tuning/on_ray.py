"""A tuning by Ray Train: the same function as under `torchrun`, in workers that Ray places on its nodes.

Checkpoints are the tuning's own, in its own folder: Ray starts the workers again where one was lost, and they go on
from there. Nothing of Ray is imported before it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sandbox import ray_cluster
from trainer.errors import TrainerError
from trainer.tuning.plan import Plan, read_plan
from trainer.tuning.tune import tune

_TIMES = 3
"""So often are all workers started again. Ray does not tell a lost one from one that raised."""


def tune_on_ray(plan: Plan, path: Path) -> None:
    """Train as the plan at `path` says, on the cluster it names; returns once its output is there.

    Raises `TrainerError` with what the first worker said, `SandboxUnavailable` where no cluster can be joined.
    """
    with ray_cluster(plan.ray or "auto"):
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer

        trainer = TorchTrainer(
            _work,
            train_loop_config={"plan": str(path.resolve())},
            scaling_config=ScalingConfig(
                num_workers=plan.processes,
                use_gpu=has_gpus(plan.processes),
                resources_per_worker={"CPU": plan.threads or 1},
            ),
            run_config=RunConfig(
                name="ray", storage_path=str(plan.checkpoints.resolve()), failure_config=FailureConfig(_TIMES)
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            causes = [str(cause) for cause in getattr(error, "worker_failures", {}).values()]
            raise TrainerError(f"Ray Train gave up: {(causes or [str(error)])[0]}") from error


def has_gpus(count: int) -> bool:
    """Whether the cluster that was joined has so many; then each process takes one."""
    import ray

    return bool(ray.cluster_resources().get("GPU", 0) >= count)


def _work(config: dict[str, Any]) -> None:
    """What each worker does; its environment is what `torchrun` would have made."""
    tune(read_plan(Path(config["plan"])), print)
