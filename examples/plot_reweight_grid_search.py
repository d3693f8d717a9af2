"""
Learning weights in a grid search
=================================

Four labels in ten of these reviews are wrong, and nobody knows which. What somebody does
have is a few hundred labels that were looked at twice. This example lets them say, through
influence, which of the other rows to believe, chooses how far to go together with the
penalty in one grid search, looks at the weights, and measures on new reviews what was won.
"""

# %%
# Labels that cannot be trusted, and some that can
# ------------------------------------------------
#
# :func:`~skclif.datasets.make_concept_reviews` writes reviews by a grammar and changes
# labels at random. A quarter of the training rows keeps its right label and is marked
# clean; the reviews to judge by are all right.

import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline

from skclif import InfluenceReweighter, SentenceEmbedder
from skclif.datasets import make_concept_reviews

reviews = make_concept_reviews(1600, label_noise=0.4, random_state=0)
train, new = slice(0, 1000), slice(1000, 1600)
texts, new_texts = reviews.data[train], reviews.data[new]
new_y = reviews.clean_target[new]

is_clean = np.arange(1000) < 250
y = reviews.target[train].where(~is_clean, reviews.clean_target[train])
wrong = (y != reviews.clean_target[train]).to_numpy()
print(f"{wrong.sum()} of {len(y)} labels are wrong, {is_clean.sum()} are known not to be")

# %%
# One search
# ----------
#
# The reweighter goes around the whole pipeline and is one more estimator: how far weights
# move is its `strength`, and 0 is among the candidates. Texts are embedded once a fit, and
# with a cache only once at all.
#
# Accuracy on wrong labels would be a poor judge, so candidates are scored on clean rows
# alone: with metadata routing a scorer can ask for any metadata as its weights, and
# ``is_clean`` is a weight of 1 or 0.

sklearn.set_config(enable_metadata_routing=True)

cache = tempfile.TemporaryDirectory()
text_clf = make_pipeline(
    SentenceEmbedder(cache_dir=cache.name), LogisticRegression(max_iter=1000)
)
reweighter = InfluenceReweighter(text_clf, random_state=0)
search = GridSearchCV(
    reweighter.set_score_request(sample_weight="is_clean"),
    {
        "strength": [0, 1, 4],
        "estimator__logisticregression__C": [0.3, 1, 3],
    },
    cv=StratifiedKFold(3, shuffle=True, random_state=0),
)
search.fit(texts, y, is_clean=is_clean)

results = pd.DataFrame(search.cv_results_).pivot(
    index="param_strength",
    columns="param_estimator__logisticregression__C",
    values="mean_test_score",
)
results.rename_axis(index="strength", columns="C").round(3)

# %%
# Looking at the weights
# ----------------------
#
# Every row has its weight in ``sample_weight_``. Wrong labels have lost much of theirs,
# though no one said which they are. Some right ones have too: what influence measures is
# whether a row helps, not whether it is right.

best = search.best_estimator_
weights = best.sample_weight_
print(search.best_params_)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
bins = np.linspace(0, weights.max(), 30)
rows = {"right labels": ~wrong & ~is_clean, "wrong labels": wrong}
for (name, chosen), colour in zip(rows.items(), ["tab:blue", "tab:orange"]):
    axes[0].hist(weights[chosen], bins, alpha=0.6, label=name, color=colour)
    axes[1].scatter(
        best.influence_[chosen] * 1000, weights[chosen], s=8, label=name, color=colour
    )
axes[0].set(xlabel="learned weight", ylabel="rows")
axes[1].set(
    xlabel="influence on clean rows' loss\n(1/1000 nats; right of 0 = harmful)",
    ylabel="learned weight",
)
axes[0].legend()
figure

# %%
# The five rows of least weight, and the label they should have had:

frame = pd.DataFrame({"text": texts, "label": y, "weight": weights.round(2)})
frame["right label"] = reviews.clean_target[train]
frame.nsmallest(5, "weight")

# %%
# What was won
# ------------
#
# The same pipeline without learned weights, its penalty chosen by the same search, is the
# one to beat: it has the clean rows too. Both judge the same new reviews, so it is the
# difference on each review that counts; drawing reviews again and again, with
# replacement, gives its interval.

plain = GridSearchCV(
    reweighter,
    {"strength": [0], "estimator__logisticregression__C": [0.3, 1, 3]},
    cv=search.cv,
).fit(texts, y, is_clean=is_clean)


def losses(fitted):
    proba = fitted.predict_proba(new_texts)
    own = np.searchsorted(fitted.classes_, new_y)
    return -np.log(proba[np.arange(len(own)), own])


def bootstrapped(differences, n_draws=2000):
    rng = np.random.default_rng(0)
    draws = rng.choice(differences, (n_draws, len(differences))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{differences.mean():+.3f} (95 % interval {low:+.3f} to {high:+.3f})"


hits = [(fitted.predict(new_texts) == new_y).astype(float) for fitted in (search, plain)]
print("accuracy, weights as given: ", f"{hits[1].mean():.3f}")
print("accuracy, learned weights:  ", f"{hits[0].mean():.3f}")
print("difference in accuracy:     ", bootstrapped((hits[0] - hits[1])))
print("difference in log-loss:     ", bootstrapped(losses(search) - losses(plain)))
assert log_loss(new_y, search.predict_proba(new_texts)) < log_loss(
    new_y, plain.predict_proba(new_texts)
)

# %%
# The weights are an array like any other. Another pipeline, of any kind, takes them by the
# name of its step:

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

sklearn.set_config(enable_metadata_routing=False)
other = make_pipeline(TfidfVectorizer(), LinearSVC())
for name, given in [("as given", None), ("learned", weights)]:
    other.fit(texts, y, linearsvc__sample_weight=given)
    print(f"TF-IDF and a linear SVC, weights {name}: {other.score(new_texts, new_y):.3f}")

# %%
# To take away: reweighting pays where labels are wrong and some are known to be right.
# Without clean rows, or with fewer than a hundred, expect little; then ``strength="auto"``
# mostly decides to do nothing, and says so in ``strength_``.
