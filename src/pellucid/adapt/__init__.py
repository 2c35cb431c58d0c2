"""Adaptation of a prior at test time: ADIR."""

from pellucid.account import Cost
from pellucid.adapt.adapt import Adaptation, AdaptedPrior, adapt, adapted, learn
from pellucid.adapt.adapter import Adapter
from pellucid.adapt.lora import Full, Lora, trainable
from pellucid.adapt.together import Together, together
from pellucid.adapt.training import Training, fit

__all__ = [
    "Adaptation",
    "AdaptedPrior",
    "Adapter",
    "Cost",
    "Full",
    "Lora",
    "Together",
    "Training",
    "adapt",
    "adapted",
    "fit",
    "learn",
    "together",
    "trainable",
]
