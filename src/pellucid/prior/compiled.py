"""Faster forward passes on a CPU: the network compiled by OpenVINO (bfloat16) or ONNX Runtime (float32).

Forward only: methods that need a vector-Jacobian product (DPS, PiGDM, MCG) are refused by name. Both are extras.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pellucid.errors import CompatibilityError, PriorError
from pellucid.prior.diffusion import DiffusionPrior

Backend = Literal["openvino", "onnxruntime"]
Compiled = Callable[[Tensor, Tensor], Tensor]


def compiled(prior: DiffusionPrior, backend: Backend, threads: int | None = None) -> DiffusionPrior:
    """The same prior around a compiled network; the given one is left as it is.

    A network is compiled once for every picture size that comes along, which takes seconds; then "openvino" runs in
    bfloat16 where the processor has it, and "onnxruntime" in float32.

    Args:
        prior: around a torch module.
        backend: which runtime.
        threads: CPU threads of the runtime; torch's number if not given.

    Raises:
        CompatibilityError: the prior is not around a torch module, or the backend is neither.
        PriorError: the runtime is not installed.
    """
    if not isinstance(prior.network, nn.Module):
        raise CompatibilityError("only a prior around a torch module can be compiled")
    compilers = {"openvino": _openvino, "onnxruntime": _onnxruntime}
    if backend not in compilers:
        raise CompatibilityError(f"the backend must be openvino or onnxruntime, not {backend!r}")
    faster = copy.copy(prior)
    faster.network = CompiledNetwork(prior.network, compilers[backend], threads or torch.get_num_threads())
    faster.autocast = None
    return faster


class CompiledNetwork:
    """A network that is compiled when it first meets a shape.

    Args:
        module: the torch network, called with (b, c, h, w) and (b,).
        compile: makes a function of the same signature from (module, x, time, threads).
        threads: of the runtime.
    """

    def __init__(
        self, module: nn.Module, compile: Callable[[nn.Module, Tensor, Tensor, int], Compiled], threads: int
    ) -> None:
        self.module, self.compile, self.threads = module, compile, threads
        self.functions: dict[tuple[int, ...], Compiled] = {}

    def __call__(self, x: Tensor, time: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            raise CompatibilityError("a compiled network has no gradient; use it with forward-only methods (ssd, ddnm)")
        x, time = x.float().contiguous(), time.float()
        key = tuple(x.shape)
        if key not in self.functions:
            self.functions[key] = self.compile(self.module, x, time, self.threads)
        return self.functions[key](x, time)


def _openvino(module: nn.Module, x: Tensor, time: Tensor, threads: int) -> Compiled:
    try:
        import openvino
    except ImportError as error:
        raise PriorError("this needs the extra: pip install 'pellucid[openvino]'") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces, which torch announces as old
        model = openvino.convert_model(module, example_input=(x, time), input=[list(x.shape), list(time.shape)])
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"):
        settings["INFERENCE_PRECISION_HINT"] = "bf16"
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def call(x: Tensor, time: Tensor) -> Tensor:
        result = request.infer([x.numpy(), time.numpy()], share_inputs=True)
        return torch.from_numpy(result[0].copy())

    return call


def _onnxruntime(module: nn.Module, x: Tensor, time: Tensor, threads: int) -> Compiled:
    try:
        import onnxruntime
    except ImportError as error:
        raise PriorError("this needs the extra: pip install 'pellucid[openvino]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is announced as old, and needs no further package
        path = str(Path(folder) / "network.onnx")
        torch.onnx.export(module, (x, time), path, input_names=["x", "time"], dynamo=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def call(x: Tensor, time: Tensor) -> Tensor:
        (out,) = session.run(None, {"x": x.numpy(), "time": time.numpy()})
        return torch.from_numpy(out)

    return call
