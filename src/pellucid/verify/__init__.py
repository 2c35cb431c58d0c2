"""A method against the exact posterior: with a Gaussian prior and a linear operator nothing needs to be believed."""

from pellucid.verify.oracle import GaussianPosterior, MixturePosterior, posterior
from pellucid.verify.report import Verdict, verify

__all__ = ["GaussianPosterior", "MixturePosterior", "Verdict", "posterior", "verify"]
