"""As much of torch as the SDK's client-side custom loss touches, over numpy: torch itself is some 700 MB.

Beside every release of the SDK; those up to 0.7 cannot be imported without a torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy


class Tensor:
    """A leaf remembers who is derived of it, so that `backward` reaches it with a gradient of ones."""

    def __init__(self, values: object, leaves: tuple[Tensor, ...] = ()) -> None:
        self.values = numpy.asarray(values, dtype="float32")
        self.leaves = leaves
        self.grad: Any = None
        self.dtype = float32
        self.shape = self.values.shape

    def _derived(self, values: Any) -> Tensor:
        return Tensor(values, self.leaves)

    def clone(self) -> Tensor:
        return self._derived(self.values)

    def detach(self) -> Tensor:
        return Tensor(self.values)

    def requires_grad_(self, _requires: bool = True) -> Tensor:
        self.leaves = (self,)
        return self

    def reshape(self, *shape: Any) -> Tensor:
        return self._derived(self.values.reshape(*shape))

    def sum(self) -> Tensor:
        return self._derived(self.values.sum())

    def __add__(self, other: Tensor) -> Tensor:
        return Tensor(self.values + other.values, self.leaves + other.leaves)

    def __neg__(self) -> Tensor:
        return self._derived(-self.values)

    def backward(self) -> None:
        for leaf in self.leaves:
            leaf.grad = numpy.ones_like(leaf.values)  # the SDK turns it into an array anyhow

    def item(self) -> float:
        return float(self.values.sum())

    def flatten(self) -> Tensor:
        return self._derived(self.values.flatten())

    def numpy(self) -> Any:
        return self.values

    def tolist(self) -> Any:
        return self.values.tolist()

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.values

    cpu = contiguous = clone


class dtype:
    is_floating_point = True


float32 = float64 = bfloat16 = int64 = int32 = dtype()


def tensor(values: object, **_: object) -> Tensor:
    return Tensor(values)


def from_numpy(values: object) -> Tensor:
    return Tensor(values)


def is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def no_grad() -> Callable[..., Any]:
    raise NotImplementedError("the torch of tests/versions/beside has no no_grad")
