"""Adaptation of a prior at test time: ADIR."""

from pellucid.adapt.adapt import Adaptation, AdaptedPrior, Cost, adapt, adapted, learn
from pellucid.adapt.adapter import Adapter
from pellucid.adapt.lora import Full, Lora, trainable
from pellucid.adapt.training import Training, fit

__all__ = [
    "Adaptation",
    "AdaptedPrior",
    "Adapter",
    "Cost",
    "Full",
    "Lora",
    "Training",
    "adapt",
    "adapted",
    "fit",
    "learn",
    "trainable",
]
