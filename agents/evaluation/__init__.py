"""Evaluates agents on environments and reports scores with intervals."""

from agents.evaluation.episode_result import EpisodeResult
from agents.evaluation.evaluate import evaluate
from agents.evaluation.statistics import Interval, bootstrap_intervals
from agents.evaluation.summary import Report

__all__ = ["EpisodeResult", "Interval", "Report", "bootstrap_intervals", "evaluate"]
