"""The card of a network: what it is, where it comes from, how good it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.checkpoints.folder import read_json


@dataclass(frozen=True)
class Card:
    """What a network is, where it comes from, how good it is.

    Attributes:
        folder: where its files are.
        data: the card as written. A shipped one holds name, kind, summary, network, range, sha256, training, quality,
            licences; an imported one `checkpoint`, the kind of file that it was made from.
    """

    folder: Path
    data: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Raises `PriorError` where the card is missing or damaged."""
        return cls(folder, {"name": folder.name, **read_json(folder / "card.json")})

    @property
    def name(self) -> str:
        """What `--prior` takes."""
        return str(self.data["name"])

    @property
    def kind(self) -> str:
        """What it is used as.

        Of a shipped network prior, latent-prior, autoencoder, denoiser, estimator, severity or parameter; of an
        imported one the role of its kind of checkpoint (`checkpoints.kinds.Role`), whatever an older card calls it.
        """
        if self.imported:
            from pellucid.checkpoints.kinds import kinds

            if (made := kinds().get(str(self.data["checkpoint"]))) is not None:
                return made.role
        return str(self.data.get("kind", self.data.get("role", "prior")))

    @property
    def imported(self) -> bool:
        """Whether `pellucid import` made the folder."""
        return "checkpoint" in self.data

    @property
    def summary(self) -> str:
        """One line."""
        return str(self.data.get("summary", ""))

    @property
    def text(self) -> str:
        """The whole card, for people."""
        return json.dumps(self.data, indent=2, ensure_ascii=False)
