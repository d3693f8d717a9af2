"""One answer by a peer, in the environment that `benchmarks.baselines` makes for them.

    python _baseline_peers.py PEER PROBLEM.json ANSWER.npy

Probabilities of the test texts, (n_texts, n_classes), go to ANSWER.npy, classes in
sorted order, those of two heads one after the other; seconds of processor time from
texts to probabilities are printed as JSON.
"""

import json
import logging
import sys
import time
import warnings

import numpy as np
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

SHOTS = 16  # of each class, for SetFit
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


def minilm(folder):
    def embed(texts):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(folder, device="cpu", local_files_only=True)
        return model.encode(list(texts), show_progress_bar=False)

    return make_pipeline(FunctionTransformer(embed), _tuned())


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
    """A sentence encoder tuned on a few texts of each class, and a head on them.

    `predict_proba` returns what that head says, and what one says that saw all rows.
    """

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
        self.head = LogisticRegression(max_iter=1000)
        self.head.fit(self._vectors(texts), labels)
        return self

    def _vectors(self, texts):
        return self.model.encode(list(texts), show_progress_bar=False)

    def predict_proba(self, texts):
        vectors = self._vectors(texts)
        heads = self.model.model_head, self.head
        return np.stack([head.predict_proba(vectors) for head in heads])


def setfit(folder):
    return SetFit(folder)


def main():
    import pandas as pd

    peer, problem, path = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with open(problem, encoding="utf-8") as file:
        given = json.load(file)
    train, test = pd.Series(given["train"]), pd.Series(given["test"])
    labels = np.asarray(given["labels"])
    model = globals()[peer](given["folder"])
    start = time.process_time()
    proba = model.fit(train, labels).predict_proba(test)
    seconds = time.process_time() - start
    np.save(path, np.asarray(proba))
    sys.stdout.write("\n" + json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
