"""Minimising the distance to a measurement, every image of a batch for itself."""
