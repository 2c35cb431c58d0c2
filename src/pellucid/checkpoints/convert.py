"""From a foreign file to a folder: recognise, compare strictly, write."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor

from pellucid.checkpoints import writer
from pellucid.checkpoints.announced import announced_state
from pellucid.checkpoints.folder import card_of
from pellucid.checkpoints.kinds import Foreign, Kind, Part, Plan, Shapes, Stored, get, kinds
from pellucid.checkpoints.reader import describe
from pellucid.errors import PellucidError, PriorError

WRITTEN = (".json", ".safetensors")  # what the files of an import are
SHOWN = 5  # of every list of keys that do not fit
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        folder: where it lies.
        kind: of the checkpoint.
        parameters: numbers in the modules' weights.
        card: as written.
    """

    folder: Path
    kind: Kind
    parameters: int
    card: Mapping[str, Any]


def recognise(shapes: Shapes) -> Kind:
    """The kind of a state dict, from its keys and shapes.

    Raises:
        PriorError: no kind fits, or more than one does.
    """
    found = [kind for kind in kinds().values() if _recognised(kind, shapes)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(kind.name for kind in found)
        raise PriorError(f"this checkpoint could be of several kinds: {names}; say which with --kind")
    if any("transformer_blocks" in key for key in shapes):
        raise PriorError(
            "this is a text-conditional latent diffusion model in its training format; take the diffusers folder of "
            "the same model: its folder is a prior as it is (--prior DIR)"
        )
    some = ", ".join(list(shapes)[:SHOWN])
    raise PriorError(f"this checkpoint is of no kind known here (its keys begin {some}); see: pellucid import --list")


def _recognised(kind: Kind, shapes: Shapes) -> bool:
    try:
        return kind.recognise(shapes)
    except Exception:  # it looked for something in shapes that are of no checkpoint it knows
        return False


def import_file(
    path: Path,
    folder: Path,
    kind: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    averaged: bool | None = None,
    replace: bool = False,
    report: Report = lambda done, total: None,
) -> Imported:
    """Converts a checkpoint file into a folder that `load` (and `--prior` for priors) takes.

    Everything is checked on names and shapes before the first tensor is read. Floating-point weights become float32,
    integers stay. The folder is written beside `folder` and renamed.

    Args:
        path: the file.
        folder: to be made, with its parents.
        kind: by name, or recognised.
        options: of the kind.
        averaged: averaged weights (True) or the last ones (False) where the file has both; None: the kind's choice.
        replace: an existing folder that an import made, and that holds nothing else; no other is ever replaced.
        report: called with (bytes written, bytes in all).

    Raises:
        PriorError: the file is missing, damaged, hostile or of no kind; keys, types or shapes do not fit; a weight is
            NaN or infinite; `folder` exists, or lies in a prior's folder or below a file.
        ConfigError: an option is unknown.
        UnknownNameError: there is no such kind.
    """
    _require_place(folder, replace)
    chosen = None if kind is None else get(kind)
    foreign = describe(path, {}, averaged)
    chosen = chosen or recognise(foreign.shapes)
    settings = chosen.settings(options or {})
    foreign = Foreign(foreign.tensors, foreign.tree, settings, averaged, path)
    plan = planned(chosen, foreign)
    fits = check(chosen, plan, foreign)
    beside = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.partial")
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        beside.mkdir(parents=True)
        hashes = _write_parts(beside, plan, foreign, fits, report)
        parameters = sum(torch.Size(shape).numel() for part in fits.values() for shape in part.values())
        card = {
            "name": folder.name,
            "summary": chosen.summary,
            "checkpoint": chosen.name,
            "kind": chosen.role,
            "source": {"file": path.name, "bytes": path.stat().st_size},
            "options": settings,
            "parameters": parameters,
            "dtype": "float32",
            "sha256": hashes,
            "licence": chosen.licence,
            **plan.card,
        }
        _write_json(beside / "card.json", card)
        _swap(beside, folder)
    except OSError as error:
        raise PriorError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        for parent in made:  # deepest first; those that hold something, as after every success, stay
            with suppress(OSError):
                parent.rmdir()
    return Imported(folder, chosen, parameters, card)


def _require_place(folder: Path, replace: bool) -> None:
    """Raises `PriorError` where a folder cannot be made without harm to what is there."""
    for parent in folder.parents:
        if parent.exists() and not parent.is_dir():
            raise PriorError(f"{parent} is a file, which cannot hold {folder.name}; choose another -o")
        if any((parent / name).is_file() for name in ("card.json", "model_index.json")):
            raise PriorError(f"{parent} is the folder of a network; choose a place outside it for {folder.name}")
    if not (folder.exists() or folder.is_symlink()):
        return
    if not folder.is_dir():
        raise PriorError(f"{folder} is a file, which --force does not replace; choose another name")
    if not replace:
        raise PriorError(f"{folder} exists; choose another name, or --force to replace it if an import made it")
    try:
        card_of(folder)
    except PriorError:
        raise PriorError(
            f"{folder} was not made by an import, so --force does not replace it; choose another name"
        ) from None
    strange = sorted(p for p in folder.rglob("*") if not p.is_dir() and p.suffix not in WRITTEN)
    if strange:
        raise PriorError(f"{folder} holds {strange[0].relative_to(folder)}, which no import wrote; move it away first")


def planned(kind: Kind, foreign: Foreign) -> Plan:
    """The kind's plan for a file. Raises `PriorError` where the file lacks what the kind looks for."""
    try:
        return kind.plan(foreign)
    except PellucidError:
        raise
    except Exception as error:  # a kind infers sizes from shapes of any file: what goes wrong there is the file's fault
        said = f"it lacks {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)
        raise PriorError(f"{foreign.path} does not fit the kind {kind.name}: {said or type(error).__name__}") from error


def check(kind: Kind, plan: Plan, foreign: Foreign) -> dict[str, dict[str, tuple[int, ...]]]:
    """Compares a plan with the modules it is for, on the meta device; {part's folder: {key: shape}}.

    Raises:
        PriorError: keys are missing or left over, shapes differ, or numbers are of another kind; the first of each are
            listed.
    """
    source = _source(plan, foreign)
    missing, wrong, homeless, whole, used = [], [], [], [], set[str]()
    fits: dict[str, dict[str, tuple[int, ...]]] = {}
    for part in plan.parts:
        state = module_state(part)
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        fits[part.folder] = shapes
        missing += [key for key in shapes if key not in part.weights]
        missing += [weight.source for weight in part.weights.values() if weight.source not in source]
        for key, weight in part.weights.items():
            used.add(weight.source)
            if weight.source not in source:
                continue
            found = _changed_shape(weight.change, source[weight.source].shape)
            if key not in shapes:
                homeless.append(weight.source)
            elif found != shapes[key]:
                wrong.append(f"{weight.source} is {source[weight.source].shape}, which does not give {shapes[key]}")
            elif state[key].is_floating_point() and not source[weight.source].dtype.is_floating_point:
                whole.append(f"{weight.source} is {str(source[weight.source].dtype).removeprefix('torch.')}")
    ignored = tuple(plan.ignored)
    unexpected = homeless + [key for key in foreign.tensors if key not in used and not key.startswith(ignored)]
    complaints = [
        f"{len(found)} {what}: {', '.join(dict.fromkeys(found[:SHOWN]))}{', ...' if len(found) > SHOWN else ''}"
        for what, found in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of a wrong shape", wrong),
            ("of whole numbers where floating point belongs", whole),
        )
        if found
    ]
    if complaints:
        raise PriorError(f"{foreign.path} does not fit the kind {kind.name}: {'; '.join(complaints)}")
    return fits


def module_state(part: Part) -> dict[str, Tensor]:
    """The state dict of the module of a part, on the meta device: shapes and types, without memory for its numbers.

    Raises:
        PriorError: the configuration is refused by the module.
    """
    config = {key: value for key, value in part.config.items() if not key.startswith("_")}
    return announced_state(lambda: part.build(config), "the shapes in the file describe a network that cannot be built")


def _changed_shape(change: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return tuple(change(torch.empty(shape, device="meta")).shape)
    except Exception:  # a change that the tensor is not made for
        return None


def _source(plan: Plan, foreign: Foreign) -> Mapping[str, Stored]:
    return foreign.tensors if plan.tensors is None else plan.tensors


def converted(plan: Plan, foreign: Foreign, part: Part, key: str) -> Tensor:
    """One weight of a part, read and changed; floating point as float32.

    Raises:
        PriorError: it is not finite.
    """
    weight = part.weights[key]
    tensor = weight.change(_source(plan, foreign)[weight.source].read())
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    # The extremes first: they need no memory, and are not finite where any number is not.
    if tensor.numel() and not torch.isfinite(torch.stack(tensor.aminmax())).all():
        bad = int((~torch.isfinite(tensor)).sum())
        raise PriorError(
            f"{foreign.path} is damaged: {bad:,} of the {tensor.numel():,} numbers of {weight.source} are NaN or "
            "infinite"
        )
    return tensor


def _write_parts(
    folder: Path,
    plan: Plan,
    foreign: Foreign,
    fits: Mapping[str, Mapping[str, tuple[int, ...]]],
    report: Report,
) -> dict[str, str]:
    """Writes configurations and weights; {file: sha256}."""
    source = _source(plan, foreign)
    announced = {}
    for part in plan.parts:
        dtypes = {key: source[weight.source].dtype for key, weight in part.weights.items()}
        announced[part.folder] = {
            key: (shape, torch.float32 if dtypes[key].is_floating_point else dtypes[key])
            for key, shape in fits[part.folder].items()
        }
    total = sum(
        torch.Size(shape).numel() * dtype.itemsize for one in announced.values() for shape, dtype in one.values()
    )
    done, hashes = 0, {}

    def progress(size: int) -> None:
        nonlocal done
        done += size
        report(done, total)

    for part in plan.parts:
        place = folder / part.folder
        place.mkdir(parents=True, exist_ok=True)
        _write_json(place / "config.json", part.config)
        path = place / f"{part.stem}.safetensors"
        digest = writer.write(path, announced[part.folder], partial(converted, plan, foreign, part), progress)
        hashes[path.relative_to(folder).as_posix()] = digest
    for name, content in plan.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _write_json(folder / name, content)
    return hashes


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _swap(beside: Path, folder: Path) -> None:
    """Puts `beside` where `folder` is to be; an old one is gone only once the new one is in place."""
    old = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.old")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(beside, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        old.unlink()
