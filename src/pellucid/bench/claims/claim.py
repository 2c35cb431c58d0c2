"""The claims of the five papers, in their words where they are short."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A claim.

    Attributes:
        name: a letter for the paper and a number.
        paper: its short name.
        text: what it says.
        where: in the paper.
    """

    name: str
    paper: str
    text: str
    where: str


CLAIMS = (
    Claim(
        "S1",
        "SSD",
        "At 30 NFE as good as DDNM at 100: PSNR within .15 dB, perceptual distance not worse, 0.31x the time "
        "(2.48 s / 8.05 s).",
        "Table 1",
    ),
    Claim(
        "S2",
        "SSD",
        "At 100 NFE perceptual distance better than DDNM-100 at equal PSNR (28.84 / 28.85; FID 32.4 / 35.1).",
        "Table 1",
    ),
    Claim("S3", "SSD", "Advantage over DDRM and DDNM grows as NFE falls.", "Fig. 7"),
    Claim(
        "S4",
        "SSD",
        "DDIM inversion: faithful, unrealistic; DDPM inversion: realistic, unfaithful; DA inversion between, "
        "convex trade-off in eta.",
        "Fig. 3, S5, Table S1",
    ),
    Claim(
        "S5",
        "SSD",
        "Predicted noise of DDIM inversion departs from N(0, I) with degradation (KL over x1..x8); DA "
        "inversion pulls it back.",
        "Fig. S1, Theorem 1",
    ),
    Claim("S6", "SSD", "Ablation: DDIM inversion 18.2 dB < DA inversion 23.5 < DA + back-projection 28.7.", "Table S2"),
    Claim(
        "S7",
        "SSD+",
        "Beats SSD under Gaussian noise and JPEG (SR8 + noise 22.5 -> 24.6 dB), and with an inexact operator.",
        "Table 2",
    ),
    Claim(
        "F1",
        "Flash",
        "Predicted severity rises with blur for a fixed image; correlates with the corruption level; outliers "
        "are images of unusual detail or smoothness.",
        "Fig. 3",
    ),
    Claim(
        "F2",
        "Flash",
        "The best number of steps differs by image; a fixed number over- or under-diffuses some.",
        "Fig. 2",
    ),
    Claim(
        "F3",
        "Flash",
        "Better perceptual distance than DPS, CCDF-DPS, CCDF-L (LPIPS .224 / .247 / .232 / .235; FID 29.5 / "
        "55.2 / 50.6 / 49.1); SwinIR better in PSNR.",
        "Table 1",
    ),
    Claim(
        "F4",
        "Flash",
        "Near-optimal quality with often half the average steps of a fixed start; predicted steps are spread.",
        "Fig. 4, 5",
    ),
    Claim(
        "F5",
        "Flash",
        "A wrong encoder costs little when its degradation family contains the true one, more otherwise.",
        "Table 2",
    ),
    Claim("F6", "Flash", "Mixing correction noise into z_hat helps (c about 1.1 to 1.2).", "App. B"),
    Claim(
        "D1",
        "Dirac",
        "PSNR peaks early in the reverse process and falls, perceptual distance keeps improving.",
        "Fig. 3",
    ),
    Claim(
        "D2",
        "Dirac",
        "Early stop gives better PSNR than DPS, DDRM, PnP-ADMM, ADMM-TV; the full run better perceptual "
        "distance (deblur DO 28.5 dB / PO LPIPS .272).",
        "Table 1",
    ),
    Claim(
        "D3",
        "Dirac",
        "Data consistency stays near the noise floor along the whole trajectory without guidance; the others "
        "reach it only at the end, DPS not always.",
        "Fig. 4",
    ),
    Claim("D4", "Dirac", "Best quality of all at low NFE; one-shot acceptable; 20 to 100 steps suffice.", "Fig. 4"),
    Claim("D5", "Dirac", "Look-ahead: inpainting fails at 0 and improves to 1; deblurring indifferent.", "Fig. 9"),
    Claim(
        "D6",
        "Dirac",
        "Guidance improves a little and is not crucial; std scaling for deblurring, error scaling for inpainting.",
        "Fig. 8",
    ),
    Claim("D7", "Dirac", "Greedy scheduling: blur severity falls fast near t = 1, masks almost linear.", "Fig. 7"),
    Claim(
        "R1",
        "ReSample",
        "Better than Latent-DPS, PSLD, DPS, DDRM, DMPS, MCG, PnP on SR, inpainting, deblurring (SR4 CelebA "
        "30.45 dB / LPIPS .144).",
        "Tables 1, 2, 5-7, 9",
    ),
    Claim("R2", "ReSample", "The gap to DPS is largest on nonlinear deblurring.", "App. A.1"),
    Claim(
        "R3",
        "ReSample",
        "Stochastic resampling: higher PSNR, smoother than stochastic encoding (sigma_y .05); smaller variance.",
        "Fig. 5, Lemma 1, Theorem 1",
    ),
    Claim("R4", "ReSample", "More resampling steps, better reconstruction (CT).", "Fig. 6b"),
    Claim(
        "R5",
        "ReSample",
        "CT, 25 angles: better than FBP, FBP-UNet, PnP-UNet, DPS, MCG, Latent-DPS (35.9 dB against 26.3 to 32.8).",
        "Table 3",
    ),
    Claim("R6", "ReSample", "Memory increment 26 % of the model against 140 % (PSLD) and 175 % (DPS).", "Table 4"),
    Claim("R7", "ReSample", "Works at 512 pixels from latent noise of that size.", "Fig. 8"),
    Claim(
        "A1",
        "ADIR",
        "Adaptation on nearest neighbours improves the same sampler at the same seed (SR x4, x8, deblurring, "
        "colourisation).",
        "Tables 1-3",
    ),
    Claim(
        "A2",
        "ADIR",
        "Neighbours by a vision-language embedding beat MSE neighbours, which equal random images.",
        "Table 5, Fig. 3",
    ),
    Claim("A3", "ADIR", "Adaptation carries a prior to a resolution that it was not trained at (512).", "Table 2"),
    Claim(
        "A4",
        "ADIR",
        "The surrogate guidance is stable where exact autograd guidance is not, and better than x0_hat = x_t.",
        "Sec. 3.1",
    ),
    Claim("A5", "ADIR", "Adaptation composes with any conditional sampler.", "Conclusion"),
    Claim("A6", "ADIR", "A diverse collection is needed: with a poor one the advantage is negligible.", "Limitation"),
)
