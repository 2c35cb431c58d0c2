"""A collection of pictures that is searched by what they show: embeddings, in a LanceDB table."""

from pellucid.retrieval.embedder import Embedder, embedder
from pellucid.retrieval.index import Added, Index
from pellucid.retrieval.neighbour import Neighbour
from pellucid.retrieval.record import Keeping

__all__ = ["Added", "Embedder", "Index", "Keeping", "Neighbour", "embedder"]
