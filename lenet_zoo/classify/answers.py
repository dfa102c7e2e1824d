"""What all classifiers share, whichever engine computes the logits: from pictures to pixels, from logits to answers."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.cards import Card
from lenet_zoo.classify.confidence import check_min_confidence, none_of_these, probabilities, refusal
from lenet_zoo.classify.looks import mean_logits
from lenet_zoo.errors import InputError, NoDigitError
from lenet_zoo.pictures.preparation import Preparation
from lenet_zoo.pictures.refusals import refuse_blank

if TYPE_CHECKING:
    from lenet_zoo.pictures.reading import PictureSource

__all__ = ["Candidate", "Classifier", "Prediction"]


@dataclass(frozen=True)
class Candidate:
    """One answer: a label and its probability."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """The answer to one picture.

    Attributes:
        label: the best label, or None when the picture was rejected.
        confidence: the best label's probability, 0 when there was nothing to read.
        top: the best answers, best first; they are there for a rejected picture too, if anything was read.
        reason: why the picture was rejected, else None.
        at_edge: whether ink reaches the edge of the picture, which may cut the character off; never of pixels.
    """

    label: str | None
    confidence: float
    top: tuple[Candidate, ...]
    reason: str | None = None
    at_edge: bool = False


class Classifier(ABC):
    """Pictures to labels. A subclass computes the logits, of pixels that it passes through `_checked`.

    Attributes:
        card: what is known of the network.
        size: height and width of the pictures that the network takes.
        channels: of the pictures that the network takes.
    """

    card: Card
    size: tuple[int, int]
    channels: int = 1

    @property
    def labels(self) -> tuple[str, ...]:
        """One text per class, the card's."""
        return self.card.labels

    @property
    def preparation(self) -> Preparation:
        """How a picture becomes pixels: the card's, for the network's channels and size."""
        return self.card.preparation.fitted(self.channels, min(self.size))

    @abstractmethod
    def predict_logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's logits of each picture as it stands: float32 N×classes, larger is better.

        Args, and what is raised: as for `predict_array`.
        """

    def predict_array(self, pixels: NDArray[np.uint8], at_edge: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Probabilities of pictures that are prepared like MNIST.

        Where the card says `looks`, each picture is read in so many places, and the logits are their mean.

        Args:
            pixels: uint8 N×28×28 (the file's own height and width), 0 background and 255 ink; or N×C×28×28 for a
                network of C channels.
            at_edge: bool N, which are of a picture whose edge cuts ink off, as `find` says: they get the card's
                `edge_temperature`. None: none of them.

        Returns: float32 N×classes. Rows sum to 1 or, where the card's `confidence` has a rubbish class, to 1 less the
            probability of "none of these".

        Raises: InputError for another dtype, rank or size, and for an empty batch.
        """
        if at_edge is not None and np.shape(at_edge) != np.shape(pixels)[:1]:
            raise InputError(f"at_edge has shape {np.shape(at_edge)}: give one bool for each of the pictures")
        logits = mean_logits(self.predict_logits, pixels, self.card.looks)
        return probabilities(logits, self.card.confidence, at_edge)

    def predict(
        self,
        images: NDArray[np.uint8] | PictureSource | Iterable[PictureSource],
        top_k: int = 1,
        min_confidence: float = 0.0,
    ) -> list[Prediction]:
        """Read pictures.

        Args:
            images: uint8 N×28×28 as for `predict_array`, of which those that `refuse_blank` names are rejected; or a
                picture, or several: a path, the bytes of a file, an open binary file or a PIL image each. They become
                pixels as the network's `preparation` says: 'character' finds the character
                (`lenet_zoo.digit_from_image`), 'picture' only scales.
            top_k: how many answers to give per picture.
            min_confidence: a picture whose best answer is below this probability is rejected.

        Returns:
            One `Prediction` per picture, in order. A picture without anything to read is rejected, with the reason;
            so is one of which "none of these" is the likeliest (the networks of 1998 have such a class).

        Raises: InputError for a picture that cannot be opened, and for arguments out of range.
        """
        self.check_answers(top_k, min_confidence)
        if isinstance(images, np.ndarray):
            return [
                self._prediction(row, top_k, min_confidence) if reason is None else Prediction(None, 0.0, (), reason)
                for row, reason in zip(self.predict_array(images), self.blank(images), strict=True)
            ]
        # Bytes and open files can be iterated too, but not over pictures.
        one = isinstance(images, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(images, "read")
        pictures = [images] if one or not isinstance(images, Iterable) else list(images)
        return self._predict_pictures(pictures, top_k, min_confidence)

    def blank(self, pixels: NDArray[np.uint8]) -> list[str | None]:
        """Why each of the prepared pictures N×H×W (or N×C×H×W) holds no character (`refuse_blank`); else None.

        For a network whose pictures are taken as they are, a blank one is as good as any other: None for all.
        """
        if self.card.preparation.kind != "character":
            return [None] * len(pixels)
        return refuse_blank(pixels if pixels.ndim == 3 else pixels.max(1))

    def check_answers(self, top_k: int, min_confidence: float) -> None:
        """Check these arguments of `predict`, before any picture is read.

        Raises: InputError for arguments out of range.
        """
        if not isinstance(top_k, int | np.integer) or not 1 <= top_k <= len(self.labels):
            raise InputError(f"top_k={top_k}: from 1 to the network's {len(self.labels)} classes")
        check_min_confidence(min_confidence)

    def prepare(self, image: PictureSource) -> NDArray[np.uint8]:
        """Any picture as pixels for `predict_array`: uint8 28×28, or 3×28×28 for a network of colour pictures.

        Args:
            image: a path, the bytes of a file, an open binary file or a PIL image.

        Raises: InputError for a picture that cannot be read; NoDigitError, which is one, for one without a character.
        """
        return self.find(image)[0]

    def find(self, image: PictureSource) -> tuple[NDArray[np.uint8], bool]:
        """`prepare`, and whether ink reaches the edge of the picture; arguments and errors are the same."""
        height, width = self.size
        if height != width:
            raise InputError(f"the network takes {height}×{width} pixels: give an array of that size")
        return self.preparation.found(image)

    def _checked(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`pixels` as N×C×H×W, or an InputError."""
        if not isinstance(pixels, np.ndarray):
            problem = f"pixels are a {type(pixels).__name__} and not a numpy array"
        elif pixels.dtype != np.uint8:
            problem = f"pixels are {pixels.dtype}"
        elif pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[1] not in (1, self.channels)):
            problem = f"pixels have shape {pixels.shape}"
        elif pixels.shape[-2:] != self.size:
            problem = f"pictures of {pixels.shape[-2]}×{pixels.shape[-1]} pixels"
        elif not len(pixels):
            problem = "an empty batch"
        else:
            return pixels[:, None] if pixels.ndim == 3 else pixels
        size = f"{self.size[0]}×{self.size[1]}"
        colour = f", or N×{self.channels}×{size}" if self.channels > 1 else ""
        raise InputError(f"{problem}: give uint8 N×{size}{colour}, 0 background and 255 ink")

    def _predict_pictures(self, images: list[Any], top_k: int, min_confidence: float) -> list[Prediction]:
        if not images:
            raise InputError("an empty list of pictures: give at least one")
        found: dict[int, tuple[NDArray[np.uint8], bool]] = {}
        out = [Prediction(None, 0.0, ())] * len(images)
        for i, image in enumerate(images):
            try:
                found[i] = self.find(image)
            except NoDigitError as error:
                out[i] = Prediction(None, 0.0, (), " ".join(str(error).split()))
        if found:
            pixels, at_edge = zip(*found.values(), strict=True)
            rows = self.predict_array(np.stack(pixels), np.array(at_edge))
            for i, row, edge in zip(found, rows, at_edge, strict=True):
                out[i] = self._prediction(row, top_k, min_confidence, edge)
        return out

    def _prediction(
        self, row: NDArray[np.float32], top_k: int, min_confidence: float, at_edge: bool = False
    ) -> Prediction:
        best = np.argsort(-row, kind="stable")[:top_k]
        top = tuple(Candidate(self.labels[i], float(row[i])) for i in best)
        if none_of_these(row[None])[0]:
            return Prediction(None, top[0].confidence, top, refusal(row, top[0].label), at_edge)
        if top[0].confidence < min_confidence:
            reason = f"the best answer, {top[0].label!r}, has confidence {top[0].confidence:.3f} < {min_confidence:g}"
            if at_edge:
                reason += ": ink reaches the edge of the picture, which may cut the character off"
            return Prediction(None, top[0].confidence, top, reason, at_edge)
        return Prediction(top[0].label, top[0].confidence, top, at_edge=at_edge)
