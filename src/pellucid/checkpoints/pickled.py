"""A pickle read as data: an interpreter of its opcodes in which nothing can be called.

Python's own unpickler imports what a file names and calls it. This one has no import and no call: names become `Named`,
and the few constructors that data needs (tensors, ordered dicts, sizes, numpy scalars and arrays) are known by name and
done here. A class that is not known becomes `Inert`, which is how training frameworks' callbacks and settings pass. A
file that names what only an attack would is refused, as is one that calls anything but a name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import torch

from pellucid.checkpoints.inert import Inert, Named
from pellucid.checkpoints.kinds import Stored
from pellucid.errors import PriorError

MOST_OPCODES = 5_000_000
MOST_COPIED = 2**28  # bytes that constructors may copy; a small file could ask for the same large copy again and again
DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}

# Nothing that is named is ever called, whatever its name: these are refused so that nobody keeps such a file.
HOSTILE = {
    *("os", "posix", "nt", "posixpath", "ntpath", "subprocess", "sys", "shutil", "importlib", "runpy", "pty", "socket"),
    *("ctypes", "pickle", "_pickle", "marshal", "types", "commands", "pip", "webbrowser", "urllib", "requests", "http"),
    *("ftplib", "smtplib", "asyncio", "multiprocessing", "builtins", "__builtin__", "dill", "cloudpickle", "joblib"),
    *("timeit", "cProfile", "pdb", "bdb", "operator", "_operator", "zipimport", "linecache", "io", "_io"),
}
HARMLESS = {  # of PLAIN_MODULES
    *("object", "type", "int", "long", "float", "complex", "bool", "str", "unicode", "basestring", "bytes"),
    *("bytearray", "list", "dict", "tuple", "set", "frozenset", "slice", "range", "xrange", "print", "getattr"),
    *("Exception", "ValueError", "RuntimeError", "KeyError", "TypeError", "NotImplemented", "Ellipsis"),
    *("SimpleNamespace", "BytesIO", "StringIO"),
}
PLAIN_MODULES = ("builtins", "__builtin__", "types", "io", "_io")
MARK = object()


@dataclass(frozen=True)
class Storage:
    """Where the numbers of tensors lie.

    Attributes:
        key: of the storage in the file.
        dtype: of its elements.
        count: how many there are.
        offset: of the first, in elements of the storage `key` (legacy files share storages through views).
    """

    key: str
    dtype: torch.dtype
    count: int
    offset: int = 0


@dataclass
class _Array:
    """A numpy array or dtype under construction."""

    kind: str
    code: str = ""
    state: Any = None


Place = Callable[[Storage, int, tuple[int, ...], tuple[int, ...], torch.dtype], Stored]


def read(file: IO[bytes], place: Place, name: str) -> Any:
    """The tree that the next pickle of `file` describes; the file is left behind its last byte.

    Args:
        file: binary.
        place: (storage, offset, shape, strides, dtype) -> the tensor's description.
        name: of the file, for messages.

    Raises:
        PriorError: it is no pickle, is damaged, too large, or tries to run code.
    """
    machine = _Machine(place, name)
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(file)):
            if count > MOST_OPCODES:
                raise PriorError(f"{name} is refused: its description alone has over {MOST_OPCODES} steps")
            machine.step(opcode.name, argument, position)
        return machine.result
    except PriorError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError, AttributeError) as error:
        raise PriorError(f"{name} is damaged or no checkpoint: {str(error) or type(error).__name__}") from error


@dataclass
class _Machine:
    place: Place
    name: str
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    result: Any = None
    copied: int = 0

    def step(self, opcode: str, argument: Any, position: int | None) -> None:
        if opcode in VALUES:
            self.stack.append(argument)
        elif opcode in FIXED:
            self.stack.append(FIXED[opcode]())
        elif handler := getattr(self, f"_on_{opcode.lower()}", None):
            handler(argument)
        elif opcode not in ("PROTO", "FRAME"):
            raise PriorError(
                f"{self.name} is refused: its pickle uses {opcode} at byte {position}, which no tensor needs"
            )

    def _pop(self) -> Any:
        if not self.stack:
            raise ValueError("its pickle takes more than it gave")
        value = self.stack.pop()
        if value is MARK:
            raise ValueError("its pickle takes a mark for a value")
        return value

    def _top(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise ValueError("its pickle takes more than it gave")
        return self.stack[-1]

    def _since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not MARK:
            at -= 1
        if at < 0:
            raise ValueError("its pickle has no mark where it needs one")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    # The stack and the memo.

    def _on_stop(self, _: Any) -> None:
        self.result = self._pop()

    def _on_mark(self, _: Any) -> None:
        self.stack.append(MARK)

    def _on_dup(self, _: Any) -> None:
        self.stack.append(self._top())

    def _on_pop(self, _: Any) -> None:
        if not self.stack:
            raise ValueError("its pickle takes more than it gave")
        self.stack.pop()

    def _on_pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _on_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self._top()

    def _on_put(self, index: int) -> None:
        self.memo[index] = self._top()

    def _on_get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    _on_binput = _on_long_binput = _on_put
    _on_binget = _on_long_binget = _on_get

    # Containers.

    def _on_append(self, _: Any) -> None:
        self._extend(self._top_below(1), [self._pop()])

    def _on_appends(self, _: Any) -> None:
        values = self._since_mark()
        self._extend(self._top(), values)

    _on_additems = _on_appends

    def _top_below(self, depth: int) -> Any:
        if len(self.stack) <= depth:
            raise ValueError("its pickle takes more than it gave")
        return self.stack[-1 - depth]

    def _extend(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, Inert):
            target = target.entries
        if not isinstance(target, list):
            raise ValueError(f"its pickle appends to a {type(target).__name__}")
        target.extend(values)

    def _on_setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._update(self._top(), [key, value])

    def _on_setitems(self, _: Any) -> None:
        values = self._since_mark()
        self._update(self._top(), values)

    def _update(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, Inert):
            target = target.items
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError(f"its pickle sets items of a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value

    def _on_dict(self, _: Any) -> None:
        values = self._since_mark()
        self.stack.append({})
        self._update(self.stack[-1], values)

    def _on_list(self, _: Any) -> None:
        self.stack.append(self._since_mark())

    _on_frozenset = _on_list

    def _on_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _on_tuple1(self, _: Any) -> None:
        self.stack.append((self._pop(),))

    def _on_tuple2(self, _: Any) -> None:
        second, first = self._pop(), self._pop()
        self.stack.append((first, second))

    def _on_tuple3(self, _: Any) -> None:
        third, second, first = self._pop(), self._pop(), self._pop()
        self.stack.append((first, second, third))

    # Names, and what would be calls.

    def _on_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_name(module, name)

    def _on_stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._push_name(module, name)

    def _push_name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("its pickle names something by what is no name")
        named = Named(module, name)
        if (self._reaches(module, name) & HOSTILE) and not (module in PLAIN_MODULES and name in HARMLESS):
            raise self._refused(named)
        if module == "torch" and name in DTYPES:
            self.stack.append(DTYPES[name])
        else:
            self.stack.append(named)

    @staticmethod
    def _reaches(module: str, name: str) -> set[str]:
        """Packages that a name goes through: new pickles can name `os.system` in any module that has imported `os`."""
        return {module.partition(".")[0], *name.split(".")[:-1]}

    def _refused(self, what: object) -> PriorError:
        return PriorError(
            f"{self.name} tries to run code: it calls or names {_short(what)}. It was not run; do not keep this file"
        )

    def _on_reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        self.stack.append(self._made(function, arguments))

    _on_newobj = _on_reduce

    def _on_newobj_ex(self, _: Any) -> None:
        keywords, arguments, function = self._pop(), self._pop(), self._pop()
        made = self._made(function, arguments)
        if isinstance(made, Inert) and keywords:
            made.arguments = (made.arguments, keywords)
        self.stack.append(made)

    def _on_inst(self, argument: str) -> None:
        arguments = tuple(self._since_mark())
        self._on_global(argument)
        self.stack.append(self._made(self._pop(), arguments))

    def _on_obj(self, _: Any) -> None:
        function, *arguments = self._since_mark()
        self.stack.append(self._made(function, tuple(arguments)))

    def _made(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Named):
            raise self._refused(f"what {function.of} gives" if isinstance(function, Inert) else type(function).__name__)
        if not isinstance(arguments, tuple):
            raise ValueError(f"its pickle calls {function} with a {type(arguments).__name__}")
        if function.name == "getattr" and function.module in ("builtins", "__builtin__"):
            return self._attribute(function, arguments)
        maker = MAKERS.get((function.module, function.name))
        return Inert(function, arguments) if maker is None else maker(self, *arguments)

    def _attribute(self, function: Named, arguments: tuple[Any, ...]) -> Inert:
        """Members of enumerations and bound methods are stored as getattr(class or object, name): data all the same."""
        of, name, *rest = arguments
        if rest or not isinstance(of, Named | Inert) or not isinstance(name, str) or name.startswith("_"):
            raise self._refused(f"getattr(..., {_short(name)!r})")
        return Inert(function, arguments)

    def _on_build(self, _: Any) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Inert):
            target.state = state
        elif isinstance(target, _Array):
            self.stack[-1] = self._finished(target, state)
        elif not isinstance(target, dict | list | Stored | Storage):
            raise PriorError(f"{self.name} is refused: its pickle sets the state of a {type(target).__name__}")

    def _on_binpersid(self, _: Any) -> None:
        self.stack.append(self._storage(self._pop()))

    def _on_persid(self, argument: Any) -> None:
        raise PriorError(f"{self.name} is refused: it refers to an outside object {_short(argument)!r}")

    def _storage(self, reference: Any) -> Storage:
        if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
            raise PriorError(f"{self.name} is refused: it refers to an outside object that is no tensor storage")
        _, kind, key, _, count, *view = reference
        if isinstance(kind, Named):
            dtype = STORAGES.get(kind.name) if kind.module.partition(".")[0] == "torch" else None
        else:
            dtype = kind if isinstance(kind, torch.dtype) else None
        if dtype is None or not isinstance(key, str | int) or not _whole(count):
            raise PriorError(f"{self.name} is refused: it holds a tensor storage of the unknown kind {_short(kind)}")
        if view and view[0] is not None:
            key, offset, size = view[0]
            if not isinstance(key, str | int) or not _whole(offset) or not _whole(size):
                raise ValueError("a storage's view is no view")
            return Storage(str(key), dtype, size, offset)
        return Storage(str(key), dtype, count)

    # Constructors of data.

    def _spend(self, size: int) -> None:
        self.copied += size
        if self.copied > MOST_COPIED:
            raise PriorError(f"{self.name} is refused: its description unfolds to over {MOST_COPIED >> 20} MiB")

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Stored:
        if not isinstance(storage, Storage) or not _whole(offset):
            raise ValueError("a tensor without a storage")
        shape, strides = _wholes(shape), _wholes(strides)
        return self.place(storage, offset, shape, strides, storage.dtype)

    def _tensor_v3(
        self, storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
    ) -> Stored:
        if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
            raise ValueError("a tensor without a storage or a dtype")
        return self.place(storage, offset, _wholes(shape), _wholes(strides), dtype)

    def _parameter(self, data: Any, *_: Any) -> Any:
        return data

    def _from_type(self, function: Any, _: Any, arguments: Any, __: Any = None) -> Any:
        return self._made(function, arguments)

    def _mapping(self, *arguments: Any) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        self._spend(100 * len(arguments[0]) if arguments and isinstance(arguments[0], dict | list | tuple) else 0)
        if arguments and isinstance(arguments[0], dict):
            made.update(arguments[0])
        elif arguments and isinstance(arguments[0], list | tuple):
            for pair in arguments[0]:
                key, value = pair
                made[_key(key)] = value
        return made

    def _default_mapping(self, *_: Any) -> dict[Any, Any]:
        return {}

    def _counter(self, *arguments: Any) -> dict[Any, Any]:
        return self._mapping(*arguments)

    def _sequence(self, *arguments: Any) -> list[Any]:
        if not arguments or not isinstance(arguments[0], list | tuple):
            return []
        self._spend(8 * len(arguments[0]))
        return list(arguments[0])

    def _size(self, *arguments: Any) -> tuple[int, ...]:
        return _wholes(arguments[0]) if arguments else ()

    def _device(self, *arguments: Any) -> str:
        return ":".join(str(a) for a in arguments if isinstance(a, str | int))

    def _bytes(self, text: Any = "", encoding: Any = "latin1", *_: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
            raise ValueError("bytes in an unknown encoding")
        self._spend(len(text))
        return text.encode(encoding)

    def _number(self, *arguments: Any) -> Any:
        return complex(*(float(a) for a in arguments if isinstance(a, int | float))) if arguments else 0

    def _dtype(self, code: Any, *_: Any) -> _Array:
        return _Array("dtype", str(code))

    def _empty_array(self, *_: Any) -> _Array:
        return _Array("array")

    def _scalar(self, dtype: Any, content: Any = None) -> Any:
        array = _decoded(dtype, (), content)
        return Inert(Named("numpy", "generic")) if array is None else array.item()

    def _finished(self, target: _Array, state: Any) -> Any:
        if target.kind == "dtype":
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
            return _Array("dtype", f"{order}{target.code}" if order in ("<", ">") else target.code)
        _, shape, dtype, fortran, content = state
        array = _decoded(dtype, _wholes(shape), content)
        if array is None:
            return Inert(Named("numpy", "ndarray"))
        if fortran:
            array = array.reshape(array.shape[::-1]).transpose()
        self._spend(array.nbytes)
        native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
        try:
            return Stored.of(torch.from_numpy(native))
        except TypeError:
            return Inert(Named("numpy", "ndarray"))


def _decoded(dtype: Any, shape: tuple[int, ...], content: Any) -> Any:
    """The numpy array of plain numbers in `content`; None where it holds anything else than plain numbers."""
    if not isinstance(dtype, _Array) or dtype.kind != "dtype" or not isinstance(content, bytes):
        return None
    code = dtype.code.lstrip("<>|=")
    if code[:1] not in ("b", "i", "u", "f", "c") or not code[1:].isdigit():
        return None
    return np.frombuffer(content, dtype=np.dtype(dtype.code)).reshape(shape)


def _key(key: Any) -> Any:
    """A dictionary's key: a scalar, or a flat tuple of scalars. A tuple a million deep would crash on being hashed."""
    scalar = str | int | float | bool | bytes | None | Named | torch.dtype
    if isinstance(key, scalar) or (isinstance(key, tuple) and all(isinstance(part, scalar) for part in key)):
        return key
    if isinstance(key, Inert):
        return key
    raise ValueError(f"its pickle has a {type(key).__name__} as the key of a dictionary")


def _short(what: object) -> str:
    """For messages: a hostile name can be megabytes long."""
    text = what if isinstance(what, str) else str(what) if isinstance(what, Named) else type(what).__name__
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return text if text.isprintable() else ascii(text)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _wholes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list | tuple) or len(values) > 64 or not all(map(_whole, values)):
        raise ValueError("a shape that is no shape")
    return tuple(values)


VALUES = {
    *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
FIXED: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,  # a set as a list: its entries need not be hashed
}
MAKERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _Machine._tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _Machine._tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _Machine._tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _Machine._parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _Machine._parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _Machine._from_type,
    ("torch", "Size"): _Machine._size,
    ("torch", "device"): _Machine._device,
    ("collections", "OrderedDict"): _Machine._mapping,
    ("collections", "defaultdict"): _Machine._default_mapping,
    ("collections", "Counter"): _Machine._counter,
    ("_codecs", "encode"): _Machine._bytes,
}
for _module in ("builtins", "__builtin__"):
    MAKERS |= {(_module, name): _Machine._sequence for name in ("list", "tuple", "set", "frozenset")}
    MAKERS |= {(_module, "dict"): _Machine._mapping, (_module, "complex"): _Machine._number}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    MAKERS |= {(_module, "scalar"): _Machine._scalar, (_module, "_reconstruct"): _Machine._empty_array}
MAKERS[("numpy", "dtype")] = _Machine._dtype
