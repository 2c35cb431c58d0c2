"""Reading honest files of every format, and refusing what is not one, before anything in it can act."""

from __future__ import annotations

import argparse
import collections
import enum
import io
import os
import pathlib
import pickle
import struct
import sys
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.checkpoints import pickled
from pellucid.checkpoints.inert import Inert, plain
from pellucid.checkpoints.kinds import Stored
from pellucid.checkpoints.reader import describe, read_tree
from pellucid.errors import PriorError

BASE = torch.arange(24.0).reshape(4, 6)
TENSORS = {
    "whole": BASE,
    "view": BASE[1:3, ::2],
    "transposed": BASE.t(),
    "row": BASE[2],
    "none": torch.empty(0, 3),
    "number": torch.tensor(5),
    "half": BASE.half(),
    "brain": BASE.bfloat16(),
    "double": BASE.double(),
    "flag": torch.tensor([True, False]),
    "byte": torch.arange(5, dtype=torch.uint8),
    "parameter": nn.Parameter(BASE[0]),
}


def test_every_format_gives_the_same_tensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    paths = [tmp_path / name for name in ("zip.pt", "legacy.pth", "plain.safetensors")]
    torch.save(TENSORS, paths[0])
    torch.save(TENSORS, paths[1], _use_new_zipfile_serialization=False)
    save_file({key: value.detach().contiguous().clone() for key, value in TENSORS.items()}, paths[2])
    for path in paths:
        found = describe(path).tensors
        assert set(found) == set(TENSORS)
        for key, wanted in TENSORS.items():
            assert found[key].shape == tuple(wanted.shape) and found[key].dtype == wanted.dtype
            assert torch.equal(found[key].read(), wanted.detach()), (path, key)


@pytest.mark.parametrize("new", [True, False])
def test_state_dicts_are_found_where_they_usually_lie(tmp_path: Path, new: bool) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    state = net.state_dict()
    parallel = {f"module.{key}": value for key, value in state.items()}
    for tree in (
        state, {"state_dict": state, "epoch": 3}, {"params": {}, "params_ema": state}, {"model": parallel, "step": 1},
        {"state_dict": state, "optimizer_states": [optimizer.state_dict()], "lone": torch.ones(2)},
    ):  # fmt: skip
        torch.save(tree, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        found = describe(tmp_path / "a.pt").tensors
        assert list(found) == list(state)
        assert all(torch.equal(found[key].read(), state[key]) for key in state)


def test_a_scripted_file_gives_its_state_dict(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4))).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, 8, 8)), tmp_path / "a.pt")
    found = describe(tmp_path / "a.pt").tensors
    assert set(found) == set(net.state_dict())
    assert all(torch.equal(found[key].read(), value) for key, value in net.state_dict().items())


class Mode(enum.Enum):
    FAST = "fast"


class Attributes(dict):  # type: ignore[type-arg]
    """As the hyper-parameters of Lightning."""


class Callback:
    def __init__(self) -> None:
        self.best, self.path = torch.tensor(0.5), pathlib.PurePosixPath("a/b")

    def method(self) -> None: ...


class Restorable:
    def __setstate__(self, state: Any) -> None:
        raise AssertionError("called")

    def __getstate__(self) -> Any:
        return {"held": 3}


@pytest.mark.parametrize("new", [True, False])
def test_a_training_file_loads_with_its_foreign_objects_inert(tmp_path: Path, new: bool) -> None:
    hyper = Attributes(config={"ch": 32, "mult": (1, 2)}, nested=Attributes(a=1))
    tree = {
        "state_dict": collections.OrderedDict(w=BASE),
        "hyper_parameters": hyper,
        "callbacks": {"ModelCheckpoint{'monitor': None}": Callback(), Callback: {"best": 1}},
        "bound": Callback().method,
        "mode": Mode.FAST,
        "space": argparse.Namespace(lr=0.1),
        "simple": types.SimpleNamespace(a=2),
        "restorable": Restorable(),
        "array": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "scalar": np.float32(2.5),
        "objects": np.array([{}], dtype=object),
        "set": {1, 2},
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]),
        "bytes": b"abc",
        "complex": 1 + 2j,
    }
    torch.save(tree, tmp_path / "a.ckpt", _use_new_zipfile_serialization=new)
    found = read_tree(tmp_path / "a.ckpt")
    assert torch.equal(describe(tmp_path / "a.ckpt").tensors["w"].read(), BASE)
    assert isinstance(found["hyper_parameters"], Inert)
    assert plain(found["hyper_parameters"]) == {"config": {"ch": 32, "mult": [1, 2]}, "nested": {"a": 1}}
    assert str(found["mode"].of).endswith(("getattr", "Mode")) and plain(found["space"]) == {"lr": 0.1}
    assert plain(found["simple"]) == {"a": 2} and found["restorable"].state == {"held": 3}
    assert found["array"].read().tolist() == [[0, 1, 2], [3, 4, 5]] == found["fortran"].read().tolist()
    assert found["scalar"] == 2.5 and found["set"] == [1, 2] and found["size"] == (2, 3)
    assert isinstance(found["objects"], Inert) and found["dtype"] is torch.float16 and found["device"] == "cpu"
    assert found["counter"] == {"a": 2, "b": 1} and found["default"] == {"a": [1]}
    assert found["bytes"] == b"abc" and found["complex"] == 1 + 2j


# What is not honest.


class Calls:
    """Pickled as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


MARKED = "pellucid_was_here"


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, and the certainty that nothing was run there."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / MARKED).exists()


def save(path: Path, tree: Any, protocol: int = 2) -> Path:
    torch.save(tree, path, pickle_protocol=protocol)
    return path


def with_pickle(path: Path, content: bytes, **entries: bytes) -> Path:
    """A torch file with a description of one's own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", content)
        for name, data in entries.items():
            archive.writestr(f"archive/data/{name}", data)
    return path


RUN = f"touch {MARKED}"


@pytest.mark.parametrize(
    "hostile",
    [
        Calls(os.system, RUN),
        Calls(eval, f"__import__('os').system('{RUN}')"),
        Calls(exec, f"open('{MARKED}', 'w')"),
        Calls(getattr, Calls(__import__, "os"), "system"),
        Calls(open, MARKED, "w"),
        Calls(os.mkdir, MARKED),
        Calls(pickle.loads, b"cos\nsystem\n(S'touch'\ntR."),
        Calls(sys.exit, 3),
        Calls(getattr, argparse.Namespace, "__init__"),
    ],
    ids=lambda hostile: getattr(hostile.function, "__name__", "made"),
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_is_refused_and_never_run(clean: Path, hostile: Calls, protocol: int) -> None:
    for number, tree in enumerate((hostile, {"state_dict": {"w": BASE}, "extra": [hostile]})):
        with pytest.raises(PriorError, match="tries to run code"):
            describe(save(clean / f"{number}.pt", tree, protocol))
        torch.save(tree, clean / "old.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
        with pytest.raises(PriorError, match="tries to run code"):
            describe(clean / "old.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cos\nsystem\n(S'%b'\ntR." % RUN.encode(), "os.system"),
        (b"(ios\nsystem\nS'touch'\n.", "os.system"),
        (b"(cposix\nsystem\nS'touch'\no.", "posix.system"),
        (b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93.", "torch.os.system"),
        (b"\x80\x04\x8c\x0atorch._six\x8c\x0asys.exit.x\x93.", "torch._six.sys"),
        (b"cargparse\nNamespace\n)\x81)R.", "what argparse.Namespace gives"),
        (b"\x80\x02K\x01)R.", "int"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"cbuiltins\ngetattr\n(cbuiltins\ngetattr\nX\x08\x00\x00\x00__self__tR.", "__self__"),
        (b"c" + b"a" * 3000 + b"\nb\n)R)R.", "aaa..."),
    ],
)
def test_code_in_raw_opcodes_is_refused(clean: Path, content: bytes, said: str) -> None:
    with pytest.raises(PriorError, match="tries to run code") as raised:
        read_tree(with_pickle(clean / "a.pt", content))
    assert said in str(raised.value) and len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged"),
        (b"\x80\x02", "damaged"),
        (b"garbage that is no pickle", "damaged"),
        (b"\x80\x02}q\x00X\x05\x00\x00\x00ab", "damaged"),
        (b"\x80\x02.", "takes more than it gave"),
        (b"\x80\x02a.", "takes more than it gave"),
        (b"\x80\x02(.", "a mark"),
        (b"\x80\x02]K\x01s.", "damaged"),
        (b"\x80\x02t.", "no mark"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02]}K\x01s.", "damaged"),
        (b"\x80\x02}]K\x01s.", "as the key"),
        (b"\x80\x02K\x01}b.", "sets the state of a int"),
        (b"\x80\x02cargparse\nNamespace\n}b.", "sets the state of a Named"),
        (b"Pos.system\n.", "outside object"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "no tensor storage"),
        (b"\x80\x02(X\x07\x00\x00\x00storagecos.path\njoin\ntQ.", "tries to run code"),
        (b"\x80\x02(X\x07\x00\x00\x00storagectorch\nStrange\nX\x01\x00\x00\x000NK\x01tQ.", "unknown kind"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "damaged"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "damaged"),
        (b"\x80\x02X\xff\xff\xff\x7f.", "damaged"),
        (b"I" + b"9" * 10000 + b"\n.", "damaged"),
    ],
)  # fmt: skip
def test_damaged_and_abusive_descriptions_are_refused(clean: Path, content: bytes, said: str) -> None:
    with pytest.raises(PriorError, match=r"damaged|refused|tries") as raised:
        read_tree(with_pickle(clean / "a.pt", content))
    assert said in str(raised.value) and len(str(raised.value)) < 400


def test_deep_nesting_and_memo_bombs_stay_small(clean: Path) -> None:
    deep = read_tree(with_pickle(clean / "a.pt", b"\x80\x02" + b"]" * 60_000 + b"a" * 59_999 + b"0]."))
    assert deep == []
    with pytest.raises(PriorError, match="no state dict"):
        describe(with_pickle(clean / "b.pt", b"\x80\x02]" + b"\x85" * 60_000 + b"."))
    with pytest.raises(PriorError, match="as the key"):  # hashing a tuple so deep would end the process
        read_tree(with_pickle(clean / "c.pt", b"\x80\x02}K\x01" + b"\x85" * 60_000 + b"K\x01s."))
    laughs = b"\x80\x02]q\x00" + b"".join(
        b"]q" + bytes([n]) + b"(" + (b"h" + bytes([n - 1])) * 10 + b"e" for n in range(1, 100)
    )
    tree = read_tree(with_pickle(clean / "d.pt", laughs + b"."))
    with pytest.raises(ValueError, match="too large"):
        plain(tree)
    again = b"\x80\x02](" + b"K\x01" * 50_000 + b"eq\x00" + b"c__builtin__\nset\nh\x00\x85R" * 1000 + b"."
    with pytest.raises(PriorError, match="unfolds"):
        read_tree(with_pickle(clean / "e.pt", again))


def test_too_many_steps_are_refused(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MOST_OPCODES", 1000)
    with pytest.raises(PriorError, match="steps"):
        read_tree(with_pickle(clean / "a.pt", b"\x80\x02" + b"N0" * 1000 + b"N."))


def tensor_pickle(
    shape: tuple[int, ...], strides: tuple[int, ...], count: int, offset: int = 0, key: str = "0"
) -> bytes:
    """A description of one tensor."""

    class Storage:
        pass

    file = io.BytesIO()

    class Writer(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            return ("storage", torch.FloatStorage, key, "cpu", count) if isinstance(thing, Storage) else None

    rebuild = Calls(torch._utils._rebuild_tensor_v2, Storage(), offset, shape, strides, False, {})
    Writer(file, 2).dump({"w": rebuild})
    return file.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": (2**40,), "strides": (1,), "count": 2**40},
        {"shape": (4,), "strides": (1,), "count": 2**61},
        {"shape": (2**30, 2**30), "strides": (0, 0), "count": 4},
        {"shape": (4,), "strides": (1,), "count": 4, "offset": 1},
        {"shape": (2, 2), "strides": (1, 8), "count": 4},
        {"shape": (4,), "strides": (-1,), "count": 4},
        {"shape": (-4,), "strides": (1,), "count": 4},
        {"shape": (4,), "strides": (1, 1), "count": 4},
        {"shape": (1,), "strides": (1,), "count": 4, "offset": -1},
        {"shape": (1,) * 65, "strides": (1,) * 65, "count": 4},
        {"shape": (4,), "strides": (1,), "count": 4, "key": "missing"},
        {"shape": (4,), "strides": (1,), "count": 4, "key": "../../../etc/passwd"},
    ],
)
def test_tensors_beyond_what_is_stored_are_refused(clean: Path, arguments: dict[str, Any]) -> None:
    path = with_pickle(clean / "a.pt", tensor_pickle(**arguments), **{"0": struct.pack("<4f", 1, 2, 3, 4)})
    with pytest.raises(PriorError, match=r"damaged|refused"):
        describe(path)


def test_a_tensor_of_ones_own_making_is_read(clean: Path) -> None:
    path = with_pickle(clean / "a.pt", tensor_pickle((2, 2), (1, 2), 4), **{"0": struct.pack("<4f", 1, 2, 3, 4)})
    assert describe(path).tensors["w"].read().tolist() == [[1, 3], [2, 4]]


def test_archives_that_lie_are_refused(clean: Path) -> None:
    def archive(name: str, *entries: tuple[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(clean / name, "w", how) as file:
            for entry, data in entries:
                file.writestr(entry, data)
        return clean / name

    tensor = tensor_pickle((4,), (1,), 4)
    cases = {
        "points outside": archive("a", ("archive/data.pkl", tensor), ("../escape", b"")),
        "no torch file; it holds model.ckpt": archive("b", ("model.ckpt", b"x"), ("config.yaml", b"x")),
        "compressed": archive("c", ("archive/data.pkl", b"\x80\x02" + b"N" * 10**6), how=zipfile.ZIP_DEFLATED),
        "no torch file": archive("d", ("a/data.pkl", tensor), ("b/data.pkl", tensor)),
        "byte order": archive("e", ("archive/data.pkl", tensor), ("archive/byteorder", b"big")),
        "lacks archive/data/0": archive("f", ("archive/data.pkl", tensor)),
    }
    for said, path in cases.items():
        with pytest.raises(PriorError, match=said):
            read_tree(path)


def test_a_declared_size_beyond_the_file_is_refused(clean: Path) -> None:
    path = with_pickle(clean / "a.pt", tensor_pickle((4,), (1,), 4), **{"0": struct.pack("<4f", 1, 2, 3, 4)})
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02")  # the last entry of the directory: the numbers
    content[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(content)
    with pytest.raises(PriorError, match=r"too short|damaged"):
        describe(path)


@pytest.mark.parametrize("new", [True, False])
def test_every_truncation_is_refused(clean: Path, new: bool) -> None:
    torch.save({"a": BASE, "b": BASE[1]}, clean / "whole.pt", _use_new_zipfile_serialization=new)
    content = (clean / "whole.pt").read_bytes()
    for length in range(0, len(content) - (30 if new else 1), 7):
        (clean / "cut.pt").write_bytes(content[:length])
        with pytest.raises(PriorError):
            describe(clean / "cut.pt")


def test_flipped_bytes_never_end_in_anything_but_our_error(clean: Path) -> None:
    torch.save({"state_dict": {"a": BASE, "b": BASE[1]}, "extra": Callback()}, clean / "whole.pt")
    content = (clean / "whole.pt").read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(content)
        for at in generator.integers(0, 1200, 3):
            broken[at] = generator.integers(0, 256)
        (clean / "broken.pt").write_bytes(broken)
        try:
            for stored in describe(clean / "broken.pt").tensors.values():
                stored.read()
        except PriorError:
            refused += 1
    assert refused > 100


def test_files_of_other_kinds_are_refused_by_name(clean: Path) -> None:
    (clean / "text").write_text("hello, this is text")
    (clean / "pickle").write_bytes(pickle.dumps({"a": [1, 2]}))
    (clean / "empty").write_bytes(b"")
    (clean / "header").write_bytes(struct.pack("<Q", 50) + b"{" + b"x" * 60)
    torch.save({"epoch": 3, "note": "nothing"}, clean / "nothing.pt")
    cases = {"text": "no checkpoint", "pickle": "no torch checkpoint", "empty": "is empty", "header": "damaged",
             "nothing.pt": "no state dict", "absent": "cannot read"}  # fmt: skip
    for name, said in cases.items():
        with pytest.raises(PriorError, match=said):
            describe(clean / name)


def test_names_that_would_act_on_a_terminal_are_refused(clean: Path) -> None:
    torch.save({"\x1b[2Jw": BASE}, clean / "a.pt")
    with pytest.raises(PriorError, match="no name"):
        describe(clean / "a.pt")
    with pytest.raises(PriorError, match=r"\\x1b\[2J"):
        read_tree(with_pickle(clean / "b.pt", b"cos\n\x1b[2J\n."))


def test_reading_describes_before_it_reads(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000), "b": torch.ones(1000)}, tmp_path / "a.pt")
    found = describe(tmp_path / "a.pt").tensors
    content = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(content.replace(torch.ones(1000).numpy().tobytes(), 2 * b"\0" * 2000))
    assert isinstance(found["a"], Stored) and found["a"].read().sum() == 0 == found["b"].read().sum()
