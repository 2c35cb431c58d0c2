"""Families of operators t -> A_t of growing severity."""

from pellucid.operators.families.base import Family
from pellucid.operators.families.blur import BlurFamily
from pellucid.operators.families.jpeg import JPEGFamily
from pellucid.operators.families.lowres import PixelationFamily
from pellucid.operators.families.masks import MaskFamily, RandomMaskFamily
from pellucid.operators.families.named import FAMILIES, FamilyOf, family
from pellucid.operators.families.schedule_file import Schedule
from pellucid.operators.families.scheduling import Chosen, greedy, schedule
from pellucid.operators.families.tone import ContrastFamily, ExposureFamily
from pellucid.operators.families.views import ViewFamily

__all__ = [
    "FAMILIES",
    "BlurFamily",
    "Chosen",
    "ContrastFamily",
    "ExposureFamily",
    "Family",
    "FamilyOf",
    "JPEGFamily",
    "MaskFamily",
    "PixelationFamily",
    "RandomMaskFamily",
    "Schedule",
    "ViewFamily",
    "family",
    "greedy",
    "schedule",
]
