"""Hounsfield units and the range [0, 1], as trainers take them: `pellucid.images.hu`, where the rest of it is."""

from pellucid.images.hu import (
    CT_WINDOW,
    WATER,
    from_attenuation,
    from_unit,
    require_window,
    to_attenuation,
    to_unit,
)

__all__ = ["CT_WINDOW", "WATER", "from_attenuation", "from_unit", "require_window", "to_attenuation", "to_unit"]
