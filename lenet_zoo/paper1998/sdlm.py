"""Stochastic diagonal Levenberg-Marquardt, the optimiser of the 1998 paper (p. 10 and appendix C, pp. 41-42).

Each parameter has a step size of its own, ε_k = η/(μ + h_kk), h_kk being an estimate of the diagonal of the Hessian:

    estimate = curvature(model, images, labels, loss)      # once per pass, on some hundred patterns
    optimizer.set_curvature(estimate)
    for each pattern: loss.backward(); optimizer.step()    # w_k ← w_k − ε_k ∂E/∂w_k

h comes from a second backward pass that carries second derivatives in place of first ones and neglects those off the
diagonal (Eqs. 25-27). It is never negative, costs about as much as a gradient, and is no squared gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap
from torch.optim import Optimizer

from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.models.lenet5_classic import RBF, FullConnection, PartialConv2d, ScaledTanh, Subsample2d

__all__ = ["SDLM", "curvature"]


class SDLM(Optimizer):
    """w_k ← w_k − lr/(μ + h_kk) · ∂E/∂w_k.

    `set_curvature` must have been called before the first step, and is called again whenever h is to be re-estimated.
    h is part of `state_dict()` (key 'h' of each parameter's state), so that a resumed run need not estimate it again.

    Args:
        params: parameters or parameter groups.
        lr: η > 0. The paper: 5e-4 for 2 passes, 2e-4 for 3, 1e-4 for 3, 5e-5 for 4, then 1e-5.
        mu: μ > 0, which bounds the step size where the error surface is flat. The paper: 0.02.

    Raises:
        InputError: lr or mu out of range; `set_curvature` with an h that is missing, negative, not finite, or not of
            its parameter's shape.
        TrainingError: a step before the first `set_curvature`.
    """

    def __init__(self, params: Iterable[Any], lr: float = 5e-4, mu: float = 0.02) -> None:
        if not lr > 0:
            raise InputError(f"lr={lr}: a learning rate is positive; the paper starts with 5e-4")
        if not mu > 0:
            raise InputError(f"mu={mu}: it must be positive; the paper takes 0.02")
        super().__init__(params, dict(lr=lr, mu=mu))

    def set_curvature(self, estimate: Mapping[Tensor, Tensor]) -> None:
        """Take over h for every parameter: what `curvature` returned, parameter → tensor of the parameter's shape."""
        for group in self.param_groups:
            for p in group["params"]:
                h = estimate.get(p)
                if h is None or h.shape != p.shape:
                    given = "none" if h is None else f"one of shape {tuple(h.shape)}"
                    raise InputError(f"a parameter of shape {tuple(p.shape)} needs an h of that shape, but got {given}")
                if not bool((torch.isfinite(h) & (h >= 0)).all()):
                    raise InputError(f"h of a parameter of shape {tuple(p.shape)} has negative or non-finite values")
                self.state[p]["h"] = h.detach().to(device=p.device, dtype=p.dtype, copy=True)

    @torch.no_grad()
    def step_sizes(self) -> list[Tensor]:
        """ε of every parameter, in the order of the parameter groups: tensors of the parameters' shapes."""
        return [self._step_size(group, p) for group in self.param_groups for p in group["params"]]

    def _step_size(self, group: dict[str, Any], p: Tensor) -> Tensor:
        state = self.state.get(p)
        if not state:
            raise TrainingError("SDLM has no second derivatives yet: call set_curvature(curvature(…)) before step()")
        return group["lr"] / (state["h"] + group["mu"])

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Any) -> float: ...

    @torch.no_grad()
    def step(self, closure: Any = None) -> float | None:
        """One update from the gradients in `.grad`; returns what `closure` returns, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(self._step_size(group, p) * p.grad)
        return loss


# ---------------------------------------------------------------------------------------------- second derivatives


def curvature(model: nn.Module, images: Tensor, target: Tensor, loss: nn.Module) -> dict[Tensor, Tensor]:
    """h_kk of every parameter of `model`, the mean over the patterns (Eqs. 25-27).

    The output is exact; below it, with a the weighted sums and x the states,

        ∂²E/∂a_i² = f′(a_i)² ∂²E/∂x_i²,   ∂²E/∂x_j² = Σ_i u_ij² ∂²E/∂a_i²,   ∂²E/∂u_ij² = x_j² ∂²E/∂a_i²,

    and h_kk is the sum of ∂²E/∂u_ij² over the connections (i, j) that share the weight k. A subsampling coefficient
    multiplies the sum of its four inputs (p. 7), so its connection to a unit is one, whose x_j is that sum.

    Args:
        model: a chain of Conv2d, PartialConv2d, Subsample2d, Linear and ScaledTanh, with an RBF or any of these as the
            last; layers that only copy, pad the input, or reshape may stand anywhere.
        images: what the model takes, N first.
        target: N class indices, int64.
        loss: takes logits and target, returns the mean over the patterns; twice differentiable in the logits.

    Returns:
        parameter → h, of its shape and dtype, without a graph. The model's gradients and mode are left as they are.

    Raises:
        TrainingError: the model has a parameter that no such chain reaches, or does more than its layers do.
    """
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    hooks = [
        module.register_forward_hook(
            lambda module, args, out, name=name: calls.append((name, module, args[0].detach(), out.detach()))
        )
        for name, module in model.named_modules()
        if isinstance(module, (*_LINEAR, Subsample2d, ScaledTanh, RBF))
    ]
    try:
        with torch.no_grad():
            logits = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    _check_chain(model, calls, logits)

    h: dict[Tensor, Tensor] = {}
    # mean over patterns: each pattern's share of E carries 1/N from the start
    second = _at_the_output(calls, logits, target, loss) / len(images)
    if isinstance(calls[-1][1], RBF):
        calls.pop()
    for _, module, x, out in reversed(calls):
        second = _through(module, x, second.reshape(out.shape), h)
    return h


_LINEAR = (nn.Conv2d, PartialConv2d, nn.Linear, FullConnection)


def _check_chain(model: nn.Module, calls: list[tuple[str, nn.Module, Tensor, Tensor]], logits: Tensor) -> None:
    reached = {p for _, module, _, _ in calls for p in module.parameters()}
    for name, p in model.named_parameters():
        if p not in reached:
            raise TrainingError(f"no second derivatives for {name}: its layer is none of those that curvature() knows")
    names = [name for name, *_ in calls] + ["the output of the model"]
    inputs = [x for _, _, x, _ in calls[1:]] + [logits]
    for i, (left, right) in enumerate(zip([out for *_, out in calls], inputs, strict=True)):
        if left.numel() != right.numel() or not torch.equal(left.reshape(-1), right.reshape(-1)):
            raise TrainingError(f"no second derivatives: {names[i + 1]} is not what {names[i]} gives, as in a chain")


def _at_the_output(
    calls: list[tuple[str, nn.Module, Tensor, Tensor]], logits: Tensor, target: Tensor, loss: nn.Module
) -> Tensor:
    """∂²E/∂x² of one pattern's E at the RBF's input (N × 84), or at the logits where the model ends otherwise."""

    def error(z: Tensor, t: Tensor) -> Tensor:
        return loss(z.unsqueeze(0), t.unsqueeze(0))

    # Not `torch.func.hessian`: it goes forward over the gradient, for which torch takes TorchScript, and warns of it.
    full = vmap(jacrev(grad(error)))(logits, target)
    _, last, x, _ = calls[-1]
    if not isinstance(last, RBF):
        return full.diagonal(dim1=1, dim2=2)
    # z_i = −|x − w_i|², so ∂z_i/∂x = −2(x − w_i) and ∂²z_i/∂x² = −2. Under Eq. 8 the sum is 2, whatever x. The logit of
    # a rubbish class, the last one, is −j and depends on no x.
    classes = len(last.weight)
    slope, full = vmap(grad(error))(logits, target)[:, :classes], full[:, :classes, :classes]
    jacobian = -2 * (x.flatten(1).unsqueeze(1) - last.weight)
    return -2 * slope.sum(1, keepdim=True) + torch.einsum("nia,nij,nja->na", jacobian, full, jacobian)


def _through(module: nn.Module, x: Tensor, second: Tensor, h: dict[Tensor, Tensor]) -> Tensor:
    """From ∂²E/∂out² to ∂²E/∂x² of one layer; its parameters' second derivatives are added to `h`."""
    if isinstance(module, ScaledTanh):
        x = x.requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(module(x).sum(), x)
        return slope.square() * second
    if isinstance(module, Subsample2d):
        total = nn.functional.avg_pool2d(x, 2) * 4
        h[module.weight] = (second * total.square()).sum((0, 2, 3))
        h[module.bias] = second.sum((0, 2, 3))
        below = (second * module.weight.square()[:, None, None]).repeat_interleave(2, 2).repeat_interleave(2, 3)
        # an odd last row or column is read by no unit
        return nn.functional.pad(below, (0, x.shape[-1] - below.shape[-1], 0, x.shape[-2] - below.shape[-2]))
    # A layer out = Σ u x is linear in u and in x. With squares in their places, the ordinary gradients are Eqs. 25-27:
    # the derivative by u² is Σ x² ∂²E/∂a² over the connections that share u, and the one by x² is Σ u² ∂²E/∂a².
    squared = {name: p.detach().square().requires_grad_() for name, p in module.named_parameters()}
    x = x.square().requires_grad_()
    with torch.enable_grad():
        out = functional_call(module, squared, (x,))
    *by_parameters, below = torch.autograd.grad(out, [*squared.values(), x], second)
    h.update(zip(module.parameters(), by_parameters, strict=True))
    return below
