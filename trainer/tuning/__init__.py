"""Tuning: a model trained on groups, in a process of its own (`python -m trainer.tuning PLAN.json`)."""

from trainer.tuning.metrics import MetricsReader, read_metrics
from trainer.tuning.plan import Plan, plan_to_json, read_plan
from trainer.tuning.recipe import BY_TRL, LossName, Recipe

__all__ = ["BY_TRL", "LossName", "MetricsReader", "Plan", "Recipe", "plan_to_json", "read_metrics", "read_plan"]
