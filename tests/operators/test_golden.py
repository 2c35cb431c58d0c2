"""Against what the published operators compute, stored in `golden/` (the deblurring of DDRM and DDNM is not a blur)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.operators import (
    BlockAverage,
    BlurFamily,
    GaussianBlur,
    Grey,
    Identity,
    LinearOperator,
    Mask,
    MaskFamily,
    PhaseRetrieval,
    Spectral,
    WalshHadamard,
)
from pellucid.operators.resize import Bicubic
from tests.golden.data import GOLDEN

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the folder of golden data is absent")

SHAPE = (3, 16, 16)
SVD = ["sr4", "color", "deno", "sr_bicubic4", "cs_wh4", "inpaint"]
TIMES = [0.0, 0.25, 0.5, 0.73, 1.0]


def arrays(name: str) -> dict[str, Tensor]:
    """The arrays of a file, numbers in float64."""
    with np.load(GOLDEN / name, allow_pickle=False) as file:
        loaded = {k: file[k] for k in file.files if file[k].dtype.kind in "fiu"}
    return {k: torch.from_numpy(v).double() for k, v in loaded.items()}


def close(value: Tensor, stored: Tensor) -> None:
    """To the precision of the published code, float32."""
    torch.testing.assert_close(value, stored, rtol=1e-5, atol=3e-6)


def spectral(name: str, data: dict[str, Tensor]) -> Spectral:
    # Their indices count pixel by pixel, channels innermost.
    kept = torch.ones(768).index_fill(0, data["missing"].long(), 0).reshape(16, 16, 3).movedim(-1, 0)
    makers = {
        "sr4": lambda: BlockAverage(SHAPE, 4),
        "color": lambda: Grey(SHAPE),
        "deno": lambda: Identity(SHAPE),
        "sr_bicubic4": lambda: Bicubic(SHAPE, 4),
        "cs_wh4": lambda: WalshHadamard(SHAPE, 0.25, order=data["perm"]),
        "inpaint": lambda: Mask(SHAPE, kept),
    }
    return makers[name]()


def flat(name: str, y: Tensor, data: dict[str, Tensor]) -> Tensor:
    """A measurement in the order of theirs."""
    if name == "cs_wh4":
        return y.transpose(1, 2).flatten(1)
    if name == "inpaint":
        missing = torch.zeros(768, dtype=torch.bool).index_fill(0, data["missing"].long(), True)
        return y.movedim(1, -1).flatten(1)[:, ~missing]
    return y.flatten(1)


@pytest.mark.parametrize("name", SVD)
@pytest.mark.parametrize(("file", "forward", "inverse"), [("ddrm", "H", "Hpinv_of_H"), ("ddnm", "A", "Apinv_of_A")])
def test_ddrm_and_ddnm(file: str, forward: str, inverse: str, name: str) -> None:
    data = arrays(f"ops_{file}_svd.npz")
    a, x = spectral(name, data), data["x"]
    y = a(x)
    close(flat(name, y, data), data[f"{name}.{forward}"])
    close(a.pinv(y).flatten(1), data[f"{name}.{inverse}"])
    if file == "ddrm":
        close(a.adjoint(y).flatten(1), data[f"{name}.Ht_of_H"])
    singulars = data[f"{name}.singulars"].sort(descending=True).values
    ours = a.singular_values(x).expand(1, *SHAPE).flatten().sort(descending=True).values
    close(ours[: len(singulars)], singulars)


def test_dps() -> None:
    data = arrays("ops_dps.npz")
    shape = (3, 64, 64)
    close(GaussianBlur(shape, 3.0, kernel_size=61)(data["x"]), data["gaussian_blur61_s3"])
    close(Bicubic(shape, 4)(data["x"]), data["sr4"])
    close(Mask(shape, data["mask"][0])(data["x"]), data["inpaint"])
    close(PhaseRetrieval((3, 32, 32))(data["phase_x"]), data["phase_amp"])


@pytest.mark.parametrize("t", TIMES)
def test_dirac(t: float) -> None:
    data = arrays("ops_dirac.npz")
    shape = (3, 32, 32)
    blurs = BlurFamily(shape, data["blur_schedule"][:, 1].tolist())
    close(blurs.std(torch.tensor(t, dtype=torch.float64)), data[f"blur_std_t{t}"])
    torch.testing.assert_close(blurs.at(t)(data["x"]), data[f"blur_t{t}"], rtol=1e-5, atol=3e-6)
    released = BlurFamily.dirac(shape).at(t)
    torch.testing.assert_close(released(data["x"]), data[f"blur_t{t}"], rtol=0, atol=1e-4)
    close(MaskFamily(shape, 50 * 32 / 256).at(t)(data["x"]), data[f"inp_t{t}"])


@pytest.mark.parametrize("name", ["sr_bicubic4", "color", "mask"])
def test_ssd(name: str) -> None:
    data = arrays("ops_ssd.npz")
    operators: dict[str, LinearOperator] = {
        "sr_bicubic4": Bicubic(SHAPE, 4),
        "color": Grey(SHAPE),
        "mask": Mask(SHAPE, data["mask"][0]),
    }
    a, z = operators[name], data["z"]
    y = a(data["x"])
    close(y, data[f"{name}.forward"])
    close(a.pinv(y), data[f"{name}.transpose"])
    close(z - a.pinv(a(z)) + a.pinv(y), data[f"{name}.project_z_y"])
