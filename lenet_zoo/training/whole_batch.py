"""What makes a training step on several ranks the step of one: each sees its part of a batch, and all act on the whole.

Gradients are summed, dropout is drawn and batch normalisation is done for the whole batch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Gradients", "WholeBatchDropout", "normalise_whole_batches"]


class Gradients:
    """A network's gradients in one block, summed over all ranks while the next batch is made.

    DistributedDataParallel does the same for large networks. Here a message costs more than its bytes, and a hook per
    parameter more than it saves: so there is one message, and no hook.

    Args:
        model: every rank takes over the weights of rank zero.
    """

    def __init__(self, model: nn.Module) -> None:
        for value in model.state_dict().values():
            dist.broadcast(value, 0)
        trained = [p for p in model.parameters() if p.requires_grad]
        self.block = trained[0].new_zeros(sum(p.numel() for p in trained))
        start = 0
        for p in trained:
            p.grad = self.block.as_strided(p.size(), p.stride(), start)
            start += p.numel()
        self.work: Any = None

    def clear(self) -> None:
        self.block.zero_()

    def send(self) -> None:
        self.work = dist.all_reduce(self.block, async_op=True)

    def receive(self) -> None:
        """Raises: RuntimeError when a process is lost."""
        if self.block.device.type == "cpu":
            # A process that sleeps for less than a millisecond wakes late; so poll first, giving way to others.
            until = time.perf_counter() + 0.005
            while not self.work.is_completed() and time.perf_counter() < until:
                _give_way()
        self.work.wait()


_give_way: Callable[[], None] = getattr(os, "sched_yield", lambda: None)


class WholeBatchDropout(TorchFunctionMode):
    """Dropout as one rank would draw it: for the whole batch, of which this rank has every `world`-th row from `rank`.

    All ranks draw from equally seeded generators.
    """

    def __init__(self, whole: int, rank: int, world: int) -> None:
        super().__init__()
        self.whole, self.rank, self.world = whole, rank, world

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.dropout:
            return func(*args, **kwargs)
        x: Tensor = args[0]
        drawn = F.dropout(x.new_ones(self.whole, *x.shape[1:]), *args[1:], **kwargs)
        return x * drawn[self.rank :: self.world]


class _Sum(torch.autograd.Function):
    """The sum over all ranks. Each of them computes on with it, so that its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


class _WholeBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch; torch's SyncBatchNorm does not work on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        channels = x.shape[1]
        # In float64, so that the variance does not suffer from the subtraction.
        parts = [x.sum((0, 2, 3), dtype=torch.float64), x.float().square().sum((0, 2, 3), dtype=torch.float64)]
        total = _Sum.apply(torch.cat([*parts, parts[0].new_tensor([x.numel() / channels])]))
        n = total[-1].detach()
        mean, square = total[:-1].reshape(2, channels) / n
        var = square - mean * mean
        with torch.no_grad():
            for running, now in ((self.running_mean, mean), (self.running_var, var * n / (n - 1))):
                running.lerp_(now.to(running.dtype), self.momentum)  # type: ignore[union-attr, arg-type]
            self.num_batches_tracked += 1  # type: ignore[operator, assignment]
        scale = self.weight * (var + self.eps).rsqrt().to(self.weight.dtype)
        shift = self.bias - mean.to(self.bias.dtype) * scale
        out: Tensor = x * scale[:, None, None].to(x.dtype) + shift[:, None, None].to(x.dtype)
        return out


def normalise_whole_batches(model: nn.Module) -> None:
    """Let batch normalisation see the whole batch, in place: one rank's part of it would give other weights."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                new = _WholeBatchNorm2d(child.num_features, child.eps, child.momentum)
                new.load_state_dict(child.state_dict())
                setattr(module, name, new.train(child.training))
