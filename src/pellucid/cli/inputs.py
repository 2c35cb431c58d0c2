"""Which files are read, and where each result goes: settled, and refused, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pellucid.errors import ConfigError, ImageFileError
from pellucid.images.atomic import require_folder
from pellucid.images.dicom import is_dicom, made_here
from pellucid.images.read import SUFFIXES
from pellucid.images.write import choose_depth


@dataclass(frozen=True)
class Job:
    """One picture's way."""

    source: Path
    target: Path

    def beside(self, tag: str) -> Path:
        """Another result: `out.png` -> `out.tag.png`."""
        return self.target.with_name(f"{self.target.stem}.{tag}{self.target.suffix}")

    def sample(self, index: int) -> Path:
        """One of several samples."""
        return self.beside(f"sample-{index:02d}")

    @property
    def tradeoff(self) -> tuple[Path, Path]:
        """The drawing of what other stops would have given, and its numbers: `out.tradeoff.png`, `.json`."""
        png, numbers = (self.target.with_name(f"{self.target.stem}.tradeoff.{end}") for end in ("png", "json"))
        return png, numbers

    def targets(self, samples: int, *, tradeoff: bool = False) -> list[Path]:
        """Every file that may be written for this many samples."""
        several = [*map(self.sample, range(samples)), self.beside("std")] if samples > 1 else []
        return [self.target, *several, *(self.tradeoff if tradeoff else ())]


def jobs(
    inputs: Sequence[Path], out: Path | None, tag: str, depth: str = "auto", *, measure: bool = False
) -> list[Job]:
    """Pairs every picture with its result.

    Args:
        inputs: pictures and folders of pictures.
        out: a file for one picture, an existing folder for several; None: beside the one picture.
        tag: what is added to the name of a result that has none: `photo-restored.png`.
        depth: of the values written, to be refused here where the format does not have it.
        measure: whether the results are measurements, which of CT go to .npz files if no name says otherwise.

    Raises:
        ImageFileError: nothing to do, an input or the output folder is missing or cannot be written to, an input would
            be overwritten, or a DICOM file that pellucid did not make, or two results have one name.
    """
    sources = [path for item in inputs for path in _expanded(item)]
    several = len(inputs) > 1 or any(item.is_dir() for item in inputs)
    targets = _into_folder(sources, out, measure) if several else [_single(sources[0], out, tag, measure)]
    for folder in dict.fromkeys(target.parent for target in targets):
        require_folder(folder)
    pairs = [Job(source, target) for source, target in zip(sources, targets, strict=True)]
    for job in pairs:
        choose_depth(job.target, "8", depth)
        require_own(job.target)
    _refuse_clashes(pairs)
    return pairs


def _expanded(item: Path) -> list[Path]:
    if not item.exists():
        raise ImageFileError(f"{item} does not exist")
    if not item.is_dir():
        return [item]
    # Hidden files are left out: among them are those that are being written.
    visible = (p for p in item.iterdir() if p.is_file() and not p.name.startswith("."))
    found = (p for p in visible if (p.suffix.lower() in SUFFIXES or is_dicom(p)) and p.name != "DICOMDIR")
    if pictures := sorted(found):
        return pictures
    raise ImageFileError(f"the folder {item} holds no pictures ({' '.join(sorted(SUFFIXES))})")


def require_identity(pairs: Sequence[Job], keep: bool) -> None:
    """Raises `ConfigError` where --keep-identity asks for what a file has not, or cannot hold."""
    for job in pairs if keep else ():
        for path, verb in ((job.source, "has"), (job.target, "holds")):
            if not is_dicom(path):
                raise ConfigError(
                    f"--keep-identity: {path.name} {verb} no patient and no study; it is for DICOM in (.dcm) and DICOM "
                    "out (-o result.dcm)"
                )


def require_own(target: Path) -> None:
    """Raises `ImageFileError` where a DICOM file that pellucid did not make, a scan perhaps, would be overwritten."""
    if target.suffix.lower() == ".dcm" and target.is_file() and not made_here(target):
        raise ImageFileError(
            f"{target} exists, and pellucid did not make it, so it is not overwritten; choose another output, or move "
            "it away"
        )


def _single(source: Path, out: Path | None, tag: str, measure: bool) -> Path:
    if out is None:
        return source.with_name(f"{_stem(source)}-{tag}{_suffix(source, measure)}")
    return out / f"{_stem(source)}{_suffix(source, measure)}" if out.is_dir() else out


def _into_folder(sources: Sequence[Path], out: Path | None, measure: bool) -> list[Path]:
    if out is None:
        raise ImageFileError("several pictures need -o with a folder for the results")
    require_folder(out)
    return [out / f"{_stem(source)}{_suffix(source, measure)}" for source in sources]


def _stem(source: Path) -> str:
    """The name without its suffix; slices are often named by their identifier, 1.2.840.5, whose end is none."""
    return source.name if source.suffix[1:].isdigit() else source.stem


def _suffix(source: Path, measure: bool) -> str:
    """Formats of floating-point numbers, and DICOM, stay what they are; all else becomes a PNG, which loses nothing.

    A measurement of a DICOM slice has noise and values in between, or is no picture: it goes to an .npz.
    """
    if is_dicom(source):
        return ".npz" if measure else ".dcm"
    return source.suffix if source.suffix.lower() in (".tif", ".tiff", ".npy", ".npz") else ".png"


def _refuse_clashes(pairs: Sequence[Job]) -> None:
    read = {job.source.resolve() for job in pairs}
    written: dict[Path, Path] = {}
    for job in pairs:
        target = job.target.resolve()
        if target in read:
            raise ImageFileError(f"{job.target} is an input and would be overwritten; choose another output")
        if target in written:
            raise ImageFileError(f"{written[target]} and {job.source} would both be written to {job.target}")
        written[target] = job.source
