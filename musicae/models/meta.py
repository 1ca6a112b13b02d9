"""`shapes_only`: models that are built without memory and without random draws. It knows no models of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills new weights: on `meta` it has no effect, and for some of it torch loads its compiler."""

    _DRAWS = (torch.randn, torch.rand)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs.get("tensor")
        if func in self._DRAWS:
            return torch.empty(*args, **{name: value for name, value in kwargs.items() if name != "generator"})
        if func is torch.randperm:
            return torch.empty(args[0], dtype=torch.int64)
        if func is torch.eye:
            return torch.empty(args[0], args[-1])
        return func(*args, **kwargs)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Inside, models are built on torch's `meta` device: with names and shapes, and without memory or random draws."""
    with torch.device("meta"), _Unfilled():
        yield
