"""What the papers claim, held against result files: `python -m pellucid.bench.claims` writes docs/reproduction.md.

No verdict is written by hand: a claim is split into parts, each part has a criterion in code, and the verdict follows
from how many parts hold.
"""
