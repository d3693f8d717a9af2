"""An embedder of tests that counts words, for texts and prompts that share them."""

import re
from zlib import crc32

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

SIZE = 64
PROMPTS = {
    "food": {
        "good": ["The soup was good.", "We liked the soup."],
        "bad": ["The soup was bad.", "We hated the soup."],
        "not mentioned": [],
    },
    "noise": {"loud": ["The music was loud."], "quiet": "The music was quiet."},
}
TEXTS = [
    "The soup was good, the music was loud.",
    "Bad soup. The music was quiet!",
    "The music was loud but the soup was bad.",
    "We liked the soup; quiet music.",
    "The music was loud.",
    "Nothing else.",
    "",
    "We hated the soup, and the music was quiet",
]
WORDS = sorted({w for text in TEXTS for w in re.findall(r"\w+", text.lower())})


class WordCounts(TransformerMixin, BaseEstimator):
    """Counts of words, by a hash: nothing is learned."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        counts = np.zeros((len(X), SIZE), dtype=np.float32)
        for row, text in enumerate(X):
            for word in re.findall(r"\w+", text.lower()):
                counts[row, crc32(word.encode()) % SIZE] += 1
        return counts

    def __sklearn_is_fitted__(self):
        return True
