"""LeNet-5 as printed in 1998: 60,000 trainable parameters and 340,908 connections.

Paper: LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86(11), 1998,
section II.B (pp. 6-9), Fig. 2 (the architecture), Fig. 3 (the bitmaps) and Table I (C3's connections).

Where the paper is silent or contradicts itself, this file chooses, and says so at the place:
- Subsampling adds its four inputs (p. 7); p. 6 says that it averages. The two differ by a factor 4 in the coefficient.
- Weights start uniform in ±2.4/√F, F being a unit's fan-in; p. 41 says ±2.4/F, with which the network does not train.
- The output is −y, the negative penalty, so that a larger logit is better, as everywhere in timm.
- Pictures come as MNIST's 28×28; the model itself adds the 2 px of background that make the paper's 32×32 field.
- The paper gives no order of the characters beyond the ten digits; see `CHARACTERS`.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import torch
from torch import Tensor, nn

from lenet_zoo import cards
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.models._base import LeNet5, asked_tag, build, check_keys, tag_cfg
from lenet_zoo.models.plain import chain, convolution, head, linear, scaling, squared_distances, wide

__all__ = [
    "CHARACTERS",
    "RBF",
    "FullConnection",
    "LeNet5Classic",
    "PartialConv2d",
    "ScaledTanh",
    "Subsample2d",
    "rbf_codes",
]

_TABLES = Path(__file__).parent / "tables"

J_OF_NUMBERS: Final = 40.0  # penalty of "none" where it reads numbers, as the recipe `handwriting` has it

BACKGROUND = -0.1  # p. 6: white is −0.1 and black 1.175, so that the mean input is about 0 and the variance about 1

_DIGITS_AND_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Class i of n ≤ 96 is the i-th of these: digits first, so that ten classes are MNIST's, and then letters, so that 36
# and 62 classes are EMNIST's; the rest of printable ASCII follows by code, and DEL, the 96th glyph of Fig. 3, is last.
CHARACTERS = _DIGITS_AND_LETTERS + "".join(chr(c) for c in range(32, 128) if chr(c) not in _DIGITS_AND_LETTERS)


# ---------------------------------------------------------------------------------------------------------- layers


class ScaledTanh(nn.Module):
    """f(a) = A tanh(S a) with A = 1.7159 and S = 2/3, so that f(±1) = ±1 (p. 8 and appendix A, p. 41)."""

    A: Final = 1.7159
    S: Final = 2 / 3

    def __init__(self) -> None:
        super().__init__()
        self.tanh = nn.Tanh()

    def extra_repr(self) -> str:
        return f"A={self.A}, S={self.S:.4f}"

    def forward(self, x: Tensor) -> Tensor:
        return self.A * self.tanh(self.S * x)


class Subsample2d(nn.Module):
    """Trainable subsampling by 2: the sum of 2×2 inputs × a coefficient per map + a bias per map (p. 7).

    N×C×H×W → N×C×⌊H/2⌋×⌊W/2⌋, with 2·C parameters. The squashing function that follows is a module of its own.
    The coefficient starts at 1/4, so that the layer starts as a plain average (our choice; the paper is silent).
    """

    def __init__(self, channels: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.channels = channels
        self.stride = (2, 2)
        self.weight = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.jit.ignore
    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, 0.25)
        nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return f"{self.channels}, kernel_size=2, stride={self.stride}"

    def forward(self, x: Tensor) -> Tensor:
        total = 4.0 * nn.functional.avg_pool2d(x, 2, self.stride)  # exact, 4 being a power of two
        return total * self.weight[:, None, None] + self.bias[:, None, None]


class PartialConv2d(nn.Module):
    """A convolution in which an output map reads only some of the input maps (C3 and its Table I).

    An absent connection is no parameter at all: `weight` holds one k×k kernel per connection, sorted by output map and
    then by input map. `connection` (int64, one per kernel) is its place, output·in_channels + input, in the dense
    kernel that `dense_weight` builds. N×in×H×W → N×out×(H−k+1)×(W−k+1).

    Args:
        table: for each output map, the input maps that it reads, ascending.
        in_channels: number of input maps.
        kernel_size: k.
    """

    connection: Tensor

    def __init__(
        self, table: list[list[int]], in_channels: int, kernel_size: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = len(table)
        self.kernel_size = kernel_size
        self._connections = [out * in_channels + source for out, sources in enumerate(table) for source in sources]
        kernels = len(self._connections)
        self.weight = nn.Parameter(torch.empty(kernels, kernel_size, kernel_size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(len(table), device=device, dtype=dtype))
        # Part of the state dict, so that a weight file says by itself which maps its 60 kernels join. What computes is
        # `_index`, the same: tools that average the buffers of a training make other integers of this one by rounding.
        self.register_buffer("connection", self._places(device))
        self._index = self._places(device)
        self._fan_in = [len(sources) * kernel_size**2 for sources in table for _ in sources]
        # Apart from torch's own sequence of random numbers: a recorded seed goes on giving the weights that it gave.
        with torch.random.fork_rng(devices=[]):
            self.reset_parameters()

    def _places(self, device: torch.device | None) -> Tensor:
        return torch.tensor(self._connections, device=device)

    def _apply(self, fn: Any, recurse: bool = True) -> "PartialConv2d":
        super()._apply(fn, recurse)
        # On the device of now, and with their values even after `to_empty`, which keeps none.
        self.connection = self._places(self.connection.device)
        self._index = self._places(self.connection.device)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}connection"] = self._places(self.connection.device)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if not self.connection.is_meta and self.connection.tolist() != self._connections:
            rest[-1].append(f"{prefix}connection joins other maps than the table of this layer")
            self.connection = self._places(self.connection.device)

    @torch.jit.ignore
    def reset_parameters(self) -> None:
        """Draw each kernel uniform in ±2.4/√F, F being the fan-in of its output map; biases 0."""
        for kernel, fan_in in zip(self.weight.detach(), self._fan_in, strict=True):
            kernel.uniform_(-2.4 / fan_in**0.5, 2.4 / fan_in**0.5)
        nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        connections = f"connections={len(self.connection)} of {self.in_channels * self.out_channels}"
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, {connections}"

    @torch.jit.ignore
    def _where(self) -> Tensor:
        if isinstance(self.weight, torch.fx.Proxy):
            return self.connection  # FX gives its graph the names of a weight file
        if self._index.device != self.connection.device:  # in a copy of DataParallel, only buffers were moved
            return self._places(self.connection.device)
        return self._index

    def dense_weight(self) -> Tensor:
        """The kernel of the ordinary convolution that does the same, out×in×k×k with zeros for absent connections."""
        k = self.kernel_size
        dense = self.weight.new_zeros((self.out_channels * self.in_channels, k, k))
        index = self.connection if torch.jit.is_scripting() else self._where()
        return dense.index_copy(0, index, self.weight).view(self.out_channels, self.in_channels, k, k)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.dense_weight(), self.bias)


class FullConnection(nn.Module):
    """F6: N×120 → N×84, a linear layer whose results do not depend on the size of the batch.

    BLAS chooses the order in which a matrix product sums by the number of rows; a convolution with a large kernel
    always sums in the same order. A logit adds up 84 squares (to −250, for some weights), which makes a difference in
    F6's last bit visible: with a matrix product, the logits of a picture alone and of the same one among 1,000 differ
    by up to 6e-5. It is no `nn.Linear`: tools replace those by layers that keep the weight in other forms.
    """

    def __init__(self, in_features: int, out_features: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.jit.ignore
    def reset_parameters(self) -> None:
        """As `nn.Linear` does: uniform in ±1/√in_features."""
        bound = self.in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"

    def forward(self, x: Tensor) -> Tensor:
        # Any split of the 120 inputs into maps of at least 4×4 will do.
        kernel = self.weight.view(-1, 6, 4, 5)
        return nn.functional.conv2d(x.reshape(-1, 6, 4, 5), kernel, self.bias).flatten(1)


class RBF(nn.Module):
    """Euclidean radial basis functions with fixed centres: logit_i = −Σ_j (x_j − w_ij)² (p. 8, Eq. 7, negated).

    …×84 → …×classes. `weight` (classes×84, values ±1) is a buffer: the centres are given, not learnt. So is `j`, where
    there is one: the penalty of Eq. 9's rubbish class, the last one, which has no centre, and whose logit is always −j.
    """

    weight: Tensor
    j: Tensor | None

    def __init__(self, codes: Tensor, j: float | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", codes)
        self.register_buffer("j", None if j is None else codes.new_tensor([j]))

    def extra_repr(self) -> str:
        return f"in_features={self.weight.shape[1]}, out_features={len(self.weight)}" + (
            "" if self.j is None else f", and a rubbish class, j={self.j.item():g}"
        )

    @torch.jit.ignore
    def init_non_persistent_buffers(self) -> None:
        """Write the codes of as many classes anew: transformers calls it for layers that the weights do not fit."""
        with torch.no_grad():
            self.weight.copy_(torch.tensor(rbf_codes(len(self.weight))))

    def forward(self, x: Tensor) -> Tensor:
        # Not as |x|² − 2x·w + |w|²: near 0, at the right class, large terms would cancel and leave rounding errors.
        logits = -(x.unsqueeze(-2) - self.weight).square().sum(-1)
        j = self.j
        return logits if j is None else torch.cat([logits, -j.expand(logits[..., :1].shape)], -1)


# ---------------------------------------------------------------------------------------------------------- tables


@lru_cache(maxsize=1)
def connection_table() -> list[list[int]]:
    """Table I: for each of C3's 16 maps, the S2 maps (0-5) that it reads; 60 connections in all."""
    lines = (_TABLES / "c3_connections.txt").read_text(encoding="ascii").splitlines()
    return [[int(source) for source in line] for line in lines if not line.startswith("#")]


@lru_cache(maxsize=1)
def glyphs() -> dict[str, list[int]]:
    """Fig. 3: the 7×12 bitmap of each character of printable ASCII, 84 values row by row, ink +1 and paper −1."""
    found: dict[str, list[int]] = {}
    blocks = (_TABLES / "rbf_ascii96.txt").read_text(encoding="ascii").strip("\n").split("\n\n")
    for block in blocks:
        head, *rows = block.split("\n")
        found[chr(int(head.split()[1]))] = [1 if dot == "#" else -1 for row in rows for dot in row]
    # Fig. 3 leaves DEL blank, like the space, and two classes cannot share a code: here it is all ink.
    found["\x7f"] = [1] * 84
    return found


def rbf_codes(num_classes: int, characters: str | None = None) -> list[list[int]]:
    """The output codes of `num_classes` classes: num_classes lists of 84 values ±1.

    With `characters`, the bitmap of each of them. Without: up to 96 classes the first of `CHARACTERS`; beyond, codes
    from SHAKE-256, the same on every machine, and the same for class i whatever the number of classes.

    Raises: InputError for characters that are not printable ASCII, repeated, or not num_classes many.
    """
    if characters is not None:
        if len(characters) != num_classes:
            raise InputError(f"{len(characters)} characters for {num_classes} classes: give one character per class")
        if len(set(characters)) != len(characters):
            raise InputError(f"characters={characters!r} repeats one: each class needs a bitmap of its own")
        unknown = [c for c in characters if c not in glyphs()]
        if unknown:
            raise InputError(f"no bitmap for {unknown[0]!r}: the paper's set is printable ASCII")
        return [glyphs()[c] for c in characters]
    if num_classes <= len(CHARACTERS):
        return [glyphs()[c] for c in CHARACTERS[:num_classes]]
    codes = []
    for i in range(num_classes):
        bits = int.from_bytes(hashlib.shake_256(f"lenet5_classic class {i}".encode()).digest(11), "big")
        codes.append([1 if bits >> j & 1 else -1 for j in range(84)])
    return codes


def _check_rubbish(num_classes: int, j: float | None) -> None:
    """Whether there may be a rubbish class among so many. Raises: InputError."""
    if j is not None and not 0 < j < float("inf"):
        raise InputError(f"j={j}: the penalty of a rubbish class is a finite number above 0")
    if j is not None and num_classes < 2:
        raise InputError(f"j={j:g} and num_classes={num_classes}: a rubbish class is the last of at least 2")


# ----------------------------------------------------------------------------------------------------------- model


class LeNet5Classic(LeNet5):
    """LeNet-5 of 1998: partial C3, trainable subsampling, scaled tanh up to F6, fixed RBF output.

    ```
    layer                              output     trainable  connections
    input (28×28 + 2 px of background) 1×32×32
    C1  conv 5×5                       6×28×28          156      122,304
    S2  subsampling 2×2                6×14×14           12        5,880
    C3  conv 5×5, Table I              16×10×10       1,516      151,600
    S4  subsampling 2×2                16×5×5            32        2,000
    C5  conv 5×5                       120×1×1       48,120       48,120
    F6  full                           84            10,164       10,164
    output  RBF                        10         0 (840 fixed)      840
                                                     60,000      340,908
    ```

    Input: N×in_chans×28×28 or larger, background −0.1 and ink 1.175 (the cfg's mean and std make that of [0, 1]).
    Output: logits N×num_classes, −y_i, that is ≤ 0, and 0 for a perfect F6 state.

    Args:
        num_classes: number of logits; 0 for no output layer.
        in_chans: channels of the pictures.
        global_pool: how C5's map is pooled when the input is larger than nominal: 'avg', 'max', or '' for not at all.
        drop_rate: dropout before the output layer, during training (the paper has none).
        pad: pixels of background that the model adds on each side; 0 for those who feed 32×32 fields.
        characters: the characters whose bitmaps the classes take, one per class (see `rbf_codes` for the default).
        j: the penalty of a rubbish class, "none of these" (Eq. 9), which is then the last class and has no bitmap; None
            for no such class. Weights of a network with such a class fit no other one, and bring their own penalty.
        device, dtype: of every parameter and buffer.

    Raises:
        InputError: a value out of range; in `forward`, a batch of the wrong rank, size, channel count or dtype.
    """

    if TYPE_CHECKING:
        S2: Subsample2d
        S4: Subsample2d
        F6: FullConnection
        output: RBF
        _model_args: dict[str, Any]

    architecture = "lenet5_classic"
    # pixels in [0, 1] become the paper's −0.1 … 1.175
    normalization = (0.1 / 1.275, 1 / 1.275)
    layers: ClassVar[dict[str, tuple[str, ...]]] = {
        "C1": ("pad", "C1", "act1"),
        "S2": ("S2", "act2"),
        "C3": ("C3", "act3"),
        "S4": ("S4", "act4"),
        "C5": ("C5", "act5"),
    }

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 1,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        pad: int = 2,
        characters: str | None = None,
        j: float | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if not 0 <= pad <= 2:
            raise InputError(f"pad={pad}: 2 for pictures of 28×28, 1 for 30×30, 0 for 32×32")
        super().__init__(num_classes, in_chans, global_pool, drop_rate, smallest_input=32 - 2 * pad)
        _check_rubbish(num_classes, j)
        self.characters, self._j = characters, j
        if j is not None:
            self._model_args = dict(j=j)
        dd = dict(device=device, dtype=dtype)
        self.pad = nn.ConstantPad2d(pad, BACKGROUND)
        self.C1 = nn.Conv2d(in_chans, 6, 5, **dd)
        self.act1 = ScaledTanh()
        self.S2 = Subsample2d(6, **dd)
        self.act2 = ScaledTanh()
        self.C3 = PartialConv2d(connection_table(), 6, 5, **dd)
        self.act3 = ScaledTanh()
        self.S4 = Subsample2d(16, **dd)
        self.act4 = ScaledTanh()
        self.C5 = nn.Conv2d(16, 120, 5, **dd)
        self.act5 = ScaledTanh()
        self.F6 = FullConnection(120, 84, **dd)
        self.act6 = ScaledTanh()
        self.output = self.make_output(num_classes, **dd)
        self.init_weights()

    @torch.jit.ignore
    def init_weights(self, power: float = 0.5, generator: torch.Generator | None = None) -> None:
        """Draw every kernel uniform in ±2.4/F^power, F being the fan-in of its unit; biases 0, coefficients 1/4.

        power=1 is appendix A as printed (p. 41): C5's bound is then 0.006, the signal dies, and the network stays at
        90 % test error. power=1/2 trains, and gives first-pass learning rates within the range that the paper prints.
        """
        kernels = [(weight, weight[0].numel()) for weight in (self.C1.weight, self.C5.weight, self.F6.weight)]
        # Each of C3's maps has a fan-in of its own.
        kernels += [(rows, rows.numel()) for rows in self.C3.weight.split([len(maps) for maps in connection_table()])]
        with torch.no_grad():
            for weight, fan_in in kernels:
                weight.uniform_(-2.4 / fan_in**power, 2.4 / fan_in**power, generator=generator)
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
            self.S2.weight.fill_(0.25)
            self.S4.weight.fill_(0.25)
            for name, fixed in self.make_output(self.num_classes).named_buffers():  # after `to_empty` they are lost
                self.output.get_buffer(name).copy_(fixed)

    @torch.jit.ignore
    def make_output(self, num_classes: int, device: Any = None, dtype: Any = None) -> nn.Module:
        if num_classes == 0:
            return nn.Identity()
        codes = rbf_codes(num_classes - (self._j is not None), self.characters)
        return RBF(torch.tensor(codes, device=device, dtype=dtype or torch.get_default_dtype()), self._j)

    @property
    def j(self) -> float | None:
        """The penalty of the rubbish class; None where there is none."""
        rubbish: Tensor | None = getattr(self.output, "j", None)
        return None if rubbish is None else self._j if rubbish.is_meta else rubbish.item()

    def reset_classifier(
        self,
        num_classes: int,
        global_pool: str | None = None,
        characters: str | None = None,
        j: float | None = None,
    ) -> None:
        """Put a new output layer in place, on the same device, in the same dtype and mode.

        `num_classes`, `characters` and `j` are as in the constructor; `num_classes=0` leaves F6's 84 units as the
        output, N×84 (or N×84×h×w with `global_pool=''`).
        """
        self.check_head(num_classes, self.global_pool if global_pool is None else global_pool)
        _check_rubbish(num_classes, j)
        if num_classes:
            rbf_codes(num_classes - (j is not None), characters)  # they fit each other, or nothing is changed
        self.characters, self._j = characters, j
        # What timm writes into a saved model's config, to rebuild it from.
        self._model_args = dict(getattr(self, "_model_args", {}), characters=characters, j=j)
        super().reset_classifier(num_classes, global_pool)

    @torch.jit.ignore
    def plain(self) -> nn.Sequential:
        like, a, s = self.C1.weight, ScaledTanh.A, ScaledTanh.S
        layers: list[tuple[str, nn.Module]] = [("pad", self.pad)]

        def add(name: str, layer: nn.Module) -> None:
            layers.extend([(name, layer), (f"act{name[1]}", nn.Tanh())])

        def bias(name: str) -> Tensor:
            return wide(getattr(self, name).bias) * s

        def subsampling(name: str) -> nn.Conv2d:
            layer = getattr(self, name)
            coefficient = wide(layer.weight)[:, None, None, None].expand(-1, 1, 2, 2) * a * s
            return convolution(coefficient, bias(name), like, stride=layer.stride, groups=len(coefficient))

        # A state is A·t, t being the tanh: S goes into the weights before each tanh, A into those after it.
        add("C1", convolution(wide(self.C1.weight) * s, bias("C1"), like))
        add("S2", subsampling("S2"))
        add("C3", convolution(wide(self.C3.dense_weight()) * a * s, bias("C3"), like))
        add("S4", subsampling("S4"))
        add("C5", convolution(wide(self.C5.weight) * a * s, bias("C5"), like, dilation=self.C5.dilation))
        full = [("F6", linear(wide(self.F6.weight) * a * s, bias("F6"), like)), ("act6", nn.Tanh())]
        if self.num_classes:
            full += squared_distances(wide(self.output.get_buffer("weight")), a, like, self.output.j)
        else:
            full.append(("output", scaling(84, a, like)))
        return chain(layers + head(self.global_pool, full, like))

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.check(x)  # N × 1 × 28 × 28
        if self.grad_checkpointing and not torch.jit.is_scripting():
            return self.forward_features_checkpointed(x)
        x = self.act1(self.C1(self.pad(x)))  # N × 6 × 28 × 28
        x = self.act2(self.S2(x))  # N × 6 × 14 × 14
        x = self.act3(self.C3(x))  # N × 16 × 10 × 10
        x = self.act4(self.S4(x))  # N × 16 × 5 × 5
        x = self.act5(self.C5(x))  # N × 120 × 1 × 1
        return x


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: LeNet5Classic) -> dict[str, Tensor]:
    """Check that the weights are this network's, and keep the output codes of `characters` where they were asked for.

    Raises: WeightsError when the weights are another network's, C3's connections are not those of Table I, or the
        penalty of the rubbish class is none.
    """
    check_keys(state_dict, model, "lenet5_classic")
    table = PartialConv2d(connection_table(), 6, 5, device="cpu").connection
    if not torch.equal(state_dict["C3.connection"].cpu(), table):
        raise WeightsError("the weights are not lenet5_classic's: C3's connections are not those of Table I")
    j = state_dict.get("output.j")
    if j is not None and not bool(((j > 0) & j.isfinite()).all()):
        raise WeightsError(f"the weights are damaged: output.j is {j.tolist()}, and must be a finite number above 0")
    if model.characters and "output.weight" in state_dict:
        state_dict["output.weight"] = model.get_buffer("output.weight")
    return state_dict


# What timm's registry holds of each tag.
CFGS: dict[str, dict[str, Any]] = {
    "lenet5_classic.mnist": tag_cfg(LeNet5Classic, "mnist", cards.DIGITS, "MNIST, the best that training reached"),
    "lenet5_classic.lecun1998_mnist": tag_cfg(
        LeNet5Classic, "lecun1998_mnist", cards.DIGITS, "MNIST, trained as in 1998"
    ),
    "lenet5_classic.lecun1998_distorted_mnist": tag_cfg(
        LeNet5Classic, "lecun1998_distorted_mnist", cards.DIGITS, "MNIST and distorted copies, trained as in 1998"
    ),
    "lenet5_classic.handwriting": tag_cfg(
        LeNet5Classic, "handwriting", cards.DIGITS, "photos and scans of digits, of more writers than MNIST's"
    ),
    "lenet5_classic.fashion_mnist": tag_cfg(
        LeNet5Classic, "fashion_mnist", cards.FASHION, "Fashion-MNIST: ten kinds of clothes"
    ),
    "lenet5_classic.numbers": tag_cfg(
        LeNet5Classic, "numbers", cards.NUMBERS, "lines of several digits, with Eq. 9's rubbish class between them"
    ),
}


def lenet5_classic(pretrained: bool = False, **kwargs: Any) -> LeNet5Classic:
    """LeNet-5 of 1998, to the last of its 60,000 parameters (see `LeNet5Classic`)."""
    if asked_tag("lenet5_classic", kwargs) == "numbers":
        kwargs.setdefault("global_pool", "")  # it answers at every position of a line
        overlay = kwargs.get("pretrained_cfg_overlay") or {}
        classes = kwargs.get("num_classes", overlay.get("num_classes", len(cards.NUMBERS)))
        if classes == len(cards.NUMBERS):
            kwargs.setdefault("j", J_OF_NUMBERS)  # the eleventh, "none"
    model = build(LeNet5Classic, "lenet5_classic", pretrained, pretrained_filter_fn=checkpoint_filter_fn, **kwargs)
    return model  # type: ignore[return-value]
