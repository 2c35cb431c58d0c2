"""What a reconstruction cost: passes of network and decoder, and operator calls, counted where they happen.

A context variable holds the account of the running reconstruction, so that shared priors and operators stay
stateless, and two reconstructions in two threads do not count each other's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cost:
    """What it took to adapt a prior to a picture, before any reconstruction.

    Attributes:
        steps: of the optimiser.
        seconds: wall time.
        cached: whether that was spent before, and the adapter only read again.
    """

    steps: int
    seconds: float
    cached: bool = False


COUNTS = ("nfe", "vjp", "decodes", "decode_vjps", "encodes", "applied")


@dataclass
class Account:
    """Counts per image of one reconstruction.

    Args:
        batch: number of images.

    Attributes:
        nfe: forward passes of the network, (batch,) int64.
        vjp: vector-Jacobian products of the network, (batch,) int64.
        decodes, decode_vjps: forward passes of an autoencoder's decoder, and gradients through it, (batch,) int64.
        encodes: forward passes of its encoder, (batch,) int64.
        operator_calls: applications of A, its adjoint, its pseudo-inverse or a change of basis, for the whole batch.
        applied: those of them that an image had a part in, (batch,) int64.
        live: indices of the images that the current sub-batch holds; None while it is all of them.
    """

    batch: int
    nfe: Tensor = field(init=False)
    vjp: Tensor = field(init=False)
    decodes: Tensor = field(init=False)
    decode_vjps: Tensor = field(init=False)
    encodes: Tensor = field(init=False)
    applied: Tensor = field(init=False)
    operator_calls: int = 0
    live: Tensor | None = None

    def __post_init__(self) -> None:
        for name in COUNTS:
            setattr(self, name, torch.zeros(self.batch, dtype=torch.int64))

    def clear(self, index: Tensor) -> None:
        """Begins anew for images `index`: their places are taken by others."""
        for name in COUNTS:
            getattr(self, name)[index] = 0


_current: ContextVar[Account | None] = ContextVar("pellucid_account", default=None)


def current() -> Account | None:
    """The account of the running reconstruction, for those who watch it; None outside of one."""
    return _current.get()


@contextmanager
def counting(batch: int) -> Iterator[Account]:
    """Counts the work done inside the block; accounts nest, the innermost counts."""
    with charging(Account(batch)) as account:
        yield account


@contextmanager
def charging(account: Account) -> Iterator[Account]:
    """Work in the block enters an account that may have been begun before."""
    token = _current.set(account)
    try:
        yield account
    finally:
        _current.reset(token)


@contextmanager
def uncounted() -> Iterator[None]:
    """Work in the block enters no account: a wrapper that calls a part many times counts itself once."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def only(index: Tensor) -> Iterator[None]:
    """Work in the block is done for images `index` of those that were live before it."""
    account = _current.get()
    before = None if account is None else account.live
    try:
        if account is not None:
            account.live = index.cpu() if before is None else before[index.cpu()]
        yield
    finally:
        if account is not None:
            account.live = before


def count_nfe() -> None:
    """One forward pass of the network for every live image."""
    _count("nfe")


def count_vjp() -> None:
    """One vector-Jacobian product of the network for every live image."""
    _count("vjp")


def count_decode() -> None:
    """One forward pass of a decoder for every live image."""
    _count("decodes")


def decode_vjp_counter() -> Callable[[], None]:
    """Counts one gradient through a decoder, whenever it is called, for the images that are live now.

    For hooks: they run later, and on a GPU in a thread that knows of no account.
    """
    account = _current.get()
    live = None if account is None else account.live

    def count() -> None:
        if account is not None:
            account.decode_vjps[slice(None) if live is None else live] += 1

    return count


def count_encode() -> None:
    """One forward pass of an encoder for every live image."""
    _count("encodes")


def _count(what: str) -> None:
    if (account := _current.get()) is not None:
        counts: Tensor = getattr(account, what)
        counts[slice(None) if account.live is None else account.live] += 1


def count_operator() -> None:
    """One call of the operator, of its adjoint, or of a change of basis."""
    if (account := _current.get()) is not None:
        account.operator_calls += 1
        account.applied[slice(None) if account.live is None else account.live] += 1
