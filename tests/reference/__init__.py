"""Straight transcriptions of the papers' algorithms. Nothing here is imported from pellucid.

Timesteps i are the papers' 0-based ones, abar[i] is a float64 table, and i = -1 is a clean picture: abar = 1.
Everything is in the network's range. A composed method of pellucid must equal its transcription to 1e-10 in float64.
"""
