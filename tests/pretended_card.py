"""A pretended graphics card: tensors there are real, computed on the processor, and refuse to be mixed with others.

It finds what a card finds, a tensor that was left on the processor, on machines without one. PyTorch's backends in
Python are experimental: `AVAILABLE` says whether this version has them.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
_COPIES = ("aten::copy_", "aten::_to_copy", "aten::_copy_from")
_COMPOSITES = ("CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")


class _OnCard(Tensor):
    """A tensor of the card; what it holds lies on the processor."""

    held: Tensor


class _Module(backend_registration._DummyBackendModule):
    """What `torch.autocast` asks of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_by_storage: WeakValueDictionary[int, _OnCard] = WeakValueDictionary()
_libraries: list[torch.library.Library] = []


@cache
def card() -> torch.device:
    """The device, registered when first asked for."""
    backend_registration._setup_privateuseone_for_python_backend(backend_module=_Module())
    everything, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    _libraries.extend((everything, aten))  # they last as long as they are held
    everything.fallback(_run, "PrivateUse1")
    for name in torch._C._dispatch_get_all_op_names():  # those put together of others look at strides, and resize
        if name.startswith("aten::") and any(
            torch._C._dispatch_has_kernel_for_dispatch_key(name, k) for k in _COMPOSITES
        ):
            operation, _, overload = name.removeprefix("aten::").partition(".")
            whole = getattr(getattr(torch.ops.aten, operation), overload or "default")
            aten.impl(name, partial(_run, whole), "PrivateUse1")
    return torch.device("privateuseone")


def _wrapped(held: Any) -> Any:
    if not isinstance(held, Tensor):
        return held
    tensor = torch._C._acc.create_empty_tensor(held.shape, held.dtype)
    tensor.__class__ = _OnCard
    tensor.held = held
    _by_storage[tensor.untyped_storage()._cdata] = tensor
    return tensor


def _is_there(x: Any) -> bool:
    return isinstance(x, Tensor) and x.device.type != "cpu"


def _held(x: Any) -> Any:
    if not _is_there(x):
        return x
    if not hasattr(x, "held"):  # `detach` loses attributes; what it was taken from must live on
        x = _by_storage[x.untyped_storage()._cdata]
    return x.held


def _run(operation: Any, *args: Any, **options: Any) -> Any:
    """Any operation of PyTorch that has tensors of the card, or makes some."""
    name, device = operation.name().split(".")[0], options.pop("device", None)
    tensors = [x for x in pytree.tree_leaves((args, options)) if isinstance(x, Tensor)]
    there = [x for x in tensors if _is_there(x)]
    if name not in _COPIES and there and any(not _is_there(x) and x.dim() for x in tensors):
        raise RuntimeError(f"{name} mixes tensors of the card and of the processor")
    args_held, options_held = pytree.tree_map(_held, (args, options))
    args_held = tuple(
        torch.tensor(x) if isinstance(x, int | float) and isinstance(a.type, torch.TensorType) else x
        for x, a in zip(args_held, operation._schema.arguments, strict=False)
    )
    if name == "aten::_copy_from":
        args_held[1].copy_(args_held[0])
        return args[1]
    if name == "aten::view" and not _can_be_viewed(*args_held):
        args_held = (args_held[0].contiguous(), args_held[1])  # the card's tensors have no strides of their own
    out = operation(*args_held, **options_held, **({} if device is None else {"device": "cpu"}))
    if device is not None and torch.device(device).type == "cpu":
        return out
    known = {id(_held(x)): x for x in there}  # what was changed in place
    return pytree.tree_map(lambda x: known[id(x)] if id(x) in known else _wrapped(x), out)


def _can_be_viewed(x: Tensor, shape: list[int]) -> bool:
    try:
        x.view(shape)
    except RuntimeError:
        return False
    return True
