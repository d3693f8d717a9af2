"""Answers by peers, in the environment that `benchmarks.baselines` makes for them.

    python _baseline_peers.py PROBLEM.json FOLDER PEER ...

Probabilities of the test texts, (n_texts, n_classes), go to PEER.npy, classes in sorted
order; seconds of processor time from texts to probabilities are printed as JSON, a line
for each peer. What the untuned encoder says of the same texts is computed once, and its
seconds are added for everyone who asks.
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

SHOTS = 8  # of each class, for SetFit
PAIRS = 2  # right and wrong pairs of each of its texts


def _tuned(**options):
    """Return a logistic regression whose penalty cross-validation chooses."""
    return LogisticRegressionCV(
        Cs=np.logspace(-1, 2, 7), scoring="neg_log_loss", max_iter=1000, **options
    )


def _counts():
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True
    )
    return FeatureUnion([("words", words), ("characters", characters)])


def tfidf(folder):
    return make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))


def tfidf_tuned(folder):
    return make_pipeline(_counts(), _tuned(cv=3))


def svc(folder):
    return make_pipeline(_counts(), CalibratedClassifierCV(LinearSVC()))


def _text_encoder(folder, n_components):
    from skrub import TextEncoder

    return TextEncoder(folder, n_components, device="cpu", random_state=0)


def text_encoder(folder):
    return make_pipeline(_text_encoder(folder, 30), LogisticRegression(max_iter=1000))


def text_encoder_tuned(folder):
    return make_pipeline(_text_encoder(folder, None), _tuned())


def string_encoder(folder):
    from skrub import StringEncoder

    return make_pipeline(StringEncoder(200, random_state=0), _tuned())


def both_encoders(folder):
    from skrub import StringEncoder

    both = make_union(_text_encoder(folder, None), StringEncoder(200, random_state=0))
    return make_pipeline(both, _tuned())


def tabular(folder):
    from skrub import tabular_pipeline

    return make_pipeline(
        FunctionTransformer(lambda texts: texts.to_frame()),
        tabular_pipeline("classification"),
    )


class SetFit:
    """A sentence encoder tuned on a few texts of each class, and a head on them."""

    def __init__(self, folder):
        self.folder = folder

    def fit(self, texts, labels):
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments

        rng = np.random.default_rng(0)
        rows = [
            rng.permutation(np.flatnonzero(labels == label))[:SHOTS]
            for label in np.unique(labels)
        ]
        rows = np.concatenate(rows)
        few = Dataset.from_dict({"text": list(texts[rows]), "label": labels[rows]})
        self.model = SetFitModel.from_pretrained(self.folder, device="cpu")
        arguments = TrainingArguments(
            batch_size=16,
            num_epochs=1,
            num_iterations=PAIRS,
            seed=0,
            save_strategy="no",
            report_to="none",
            show_progress_bar=False,
        )
        Trainer(model=self.model, args=arguments, train_dataset=few).train()
        return self

    def predict_proba(self, texts):
        vectors = self.model.encode(list(texts), show_progress_bar=False)
        return self.model.model_head.predict_proba(vectors)


def setfit(folder):
    return SetFit(folder)


class EncodeOnce:
    """Take the place of `SentenceTransformer.encode`, and remember its answers.

    Attributes
    ----------
    seconds : float
        Processor time of the answers that were asked for again, so far.
    """

    def __init__(self):
        from sentence_transformers import SentenceTransformer

        self.answers, self.seconds = {}, 0.0
        encode = SentenceTransformer.encode

        def once(model, texts, **options):
            key = tuple(texts)
            if key in self.answers:
                vectors, seconds = self.answers[key]
                self.seconds += seconds
                return vectors.copy()
            start = time.process_time()
            vectors = encode(model, texts, **options)
            self.answers[key] = vectors.copy(), time.process_time() - start
            return vectors

        SentenceTransformer.encode = once


def main():
    import pandas as pd

    problem, folder, *peers = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    given = json.loads(Path(problem).read_text(encoding="utf-8"))
    train, test = pd.Series(given["train"]), pd.Series(given["test"])
    labels = np.asarray(given["labels"])
    encoder = EncodeOnce()
    for peer in peers:
        model = globals()[peer](given["folder"])
        if peer == "setfit":  # whose encoder changes
            encoder.answers.clear()
        start, before = time.process_time(), encoder.seconds
        proba = model.fit(train, labels).predict_proba(test)
        seconds = time.process_time() - start + encoder.seconds - before
        np.save(Path(folder) / f"{peer}.npy", np.asarray(proba))
        print("\n" + json.dumps({"model": peer, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
