"""Which words of a text carry a concept or the label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd

from .shown import Shown
from .words import how_many

BIAS, SPECIAL = "(bias)", "(special tokens)"


@dataclass(frozen=True, eq=False, repr=False)
class WordEvidence(Shown):
    """The words of texts with their shares of a logit.

    The shares of a text's words, its bias and the share of the special tokens add up to
    its score. Positive = the word speaks for the value.

    Attributes
    ----------
    concept : str
        The concept, or "label".
    unit : str
        Unit of all numbers: "log-odds", or that of a continuous concept.
    against : str
        What the value is compared with: "the average value", "the other value", another
        value, or "" for a continuous concept.
    texts : tuple of str
    values : ndarray of shape (n_texts,), dtype object
        The value that the score of each text is about; None for a continuous concept.
        Of a label with thresholds, "above 3" is a label above 3.
    spans : tuple of ndarray of shape (n_words, 2)
        Where the words of each text begin and end, in characters.
    shares : tuple of ndarray of shape (n_words,)
        What each word adds to the score of its text.
    special : ndarray of shape (n_texts,)
        What the tokens add that the model puts around every text; 0 if they are not
        part of the vector.
    bias : ndarray of shape (n_texts,)
        What the score is without any token.
    scores : ndarray of shape (n_texts,)
        The logit that the model gives, or the prediction of a continuous concept.
    read : ndarray of shape (n_texts,), int
        How many characters of each text the model reads. Words behind have no share.
    linearised : bool
        Whether shares are those of a linear model that equals the bottleneck at the
        text itself: labels of concepts that are probabilities. Otherwise they are
        exact.
    """

    __module__ = "skclif"

    concept: str
    unit: str
    against: str
    texts: tuple[str, ...]
    values: np.ndarray
    spans: tuple[np.ndarray, ...]
    shares: tuple[np.ndarray, ...]
    special: np.ndarray
    bias: np.ndarray
    scores: np.ndarray
    read: np.ndarray
    linearised: bool

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def to_frame(self) -> pd.DataFrame:
        """Return every word, in the order of texts.

        Returns
        -------
        frame : DataFrame
            Columns: text (position), word, start and stop (in characters), share. The
            last lines of each text are "(bias)" and, if they have a share, "(special
            tokens)", which have no place. The shares of a text add up to its score.
        """
        frames = [self._words_of(text) for text in range(len(self))]
        for text, frame in enumerate(frames):
            others = {BIAS: self.bias[text]}
            if self.special[text] != 0:
                others[SPECIAL] = self.special[text]
            rest = pd.DataFrame({"word": [*others], "share": [*others.values()]})
            rest.insert(0, "text", text)
            frames[text] = pd.concat([frame, rest], ignore_index=True)
        return _joined(frames)

    def top(self, k: int = 5) -> pd.DataFrame:
        """Return the words with the largest shares of each text, by magnitude.

        Parameters
        ----------
        k : int, default=5
            Number of words per text.

        Returns
        -------
        frame : DataFrame
            Columns as in `to_frame`, without the lines that are no words.
        """
        if not isinstance(k, Integral) or isinstance(k, bool) or k < 0:
            raise ValueError(
                f"k={k!r} must be a whole number, 0 or more: the words per text."
            )
        frames = []
        for text, shares in enumerate(self.shares):
            order = np.argsort(-np.abs(shares), kind="stable")[:k]
            frames.append(self._words_of(text).iloc[order])
        return _joined(frames)

    def _pieces(self, text: int) -> Iterator[tuple[str, float | None]]:
        """Yield a text in pieces: words with their shares, and what is between them.

        Parameters
        ----------
        text : int
            Position of the text.

        Yields
        ------
        piece : str
            All pieces together are the text.
        share : float or None
            None between words, and behind what the model reads.
        """
        whole, last = self.texts[text], 0
        for (start, stop), share in zip(
            self.spans[text].tolist(), self.shares[text].tolist(), strict=True
        ):
            if start > last:
                yield whole[last:start], None
            yield whole[start:stop], share
            last = stop
        if last < len(whole):
            yield whole[last:], None

    def _words_of(self, text: int) -> pd.DataFrame:
        spans, whole = self.spans[text], self.texts[text]
        return pd.DataFrame(
            {
                "text": np.full(len(spans), text),
                "word": [whole[start:stop] for start, stop in spans],
                "start": pd.array(spans[:, 0], dtype="Int64"),
                "stop": pd.array(spans[:, 1], dtype="Int64"),
                "share": self.shares[text],
            }
        ).astype({"word": object})

    def __repr__(self) -> str:
        """Return one line: what, how many, unit and sign."""
        about = f"{self.concept} ({self.unit}"
        if self.against:
            about += f" against {self.against}"
        how = "linearised shares" if self.linearised else "shares"
        return (
            f"<WordEvidence of {about}, positive = for it): "
            f"{how_many(len(self), 'text')}, {how} of "
            f"{how_many(sum(map(len, self.shares)), 'word')}>"
        )

    def _table(self) -> pd.DataFrame:
        return self.top()


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame(columns=["text", "word", "start", "stop", "share"])
    return pd.concat(frames, ignore_index=True)
