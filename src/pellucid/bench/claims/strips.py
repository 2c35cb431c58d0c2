"""The pictures of the claims of ReSample."""

from __future__ import annotations

from pellucid.bench.claims.plots import Strip

PHOTOS = {
    "truth": "true picture",
    "resample": "ReSample",
    "ldps": "Latent-DPS",
    "psld": "PSLD",
    "dps": "DPS",
    "mcg": "MCG",
    "ddrm": "DDRM",
    "dmps": "DMPS",
    "pnp-admm": "PnP-ADMM",
}
CT = {
    "truth": "true slice",
    "resample": "ReSample",
    "ldps": "Latent-DPS",
    "dps": "DPS",
    "mcg": "MCG",
    "pnp-unet": "PnP-UNet",
    "fbp": "FBP",
    "fbp-unet": "FBP-UNet",
}
ENCODING = {"truth": "true picture", "resample": "resampling", "encoding": "stochastic encoding"}
OPTIONS = {
    "truth": "true picture",
    "resample": "ReSample",
    "with guidance": "Latent-DPS steps",
    "with look-ahead": "look-ahead",
    "every 10": "every 10 steps",
}
LARGE = {"truth": "true picture", "resample": "ReSample", "admm-tv": "ADMM-TV"}

STRIPS = {
    "R1": (
        ("resample-photos", Strip("sr4.jpg", PHOTOS, "sr4", 3, "Super-resolution by 4, noise 0.01")),
        ("resample-photos", Strip("random.jpg", PHOTOS, "random", 3, "Inpainting of 70 % of the pixels, noise 0.01")),
        ("resample-photos", Strip("box.jpg", PHOTOS, "box", 3, "Inpainting of a box, noise 0.01")),
        ("resample-photos", Strip("deblur.jpg", PHOTOS, "deblur", 3, "Gaussian deblurring, noise 0.01")),
        ("resample-options", Strip("options.jpg", OPTIONS, "box", 3, "Inpainting of a box with parts left open")),
    ),
    "R2": (("resample-photos", Strip("nonlinear.jpg", PHOTOS, "nonlinear", 3, "Nonlinear deblurring, noise 0.01")),),
    "R3": (("resample-parts", Strip("encoding.jpg", ENCODING, "deblur 0.05", 3, "Deblurring, noise 0.05")),),
    "R5": (("resample-ct-patients", Strip("ct.jpg", CT, "ct", 3, "CT of 25 angles, three other patients")),),
    "R7": (("resample-512", Strip("large.jpg", LARGE, "random", 2, "Inpainting at 512 pixels")),),
}
