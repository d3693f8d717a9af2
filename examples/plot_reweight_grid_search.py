"""
Learning weights in a grid search
=================================

Half of the complaints in this training set were filed as praise, and nobody knows
which. Two hundred reviews were read twice and are known to be right. Through influence,
these reviews say which of the other rows to trust. This example chooses how far weights
move together with the penalty, in one grid search. Then it looks at the weights, and
measures the gain on new reviews.
"""

# %%
# Labels that cannot be trusted, and some that can
# ------------------------------------------------
#
# :func:`~skclif.datasets.make_concept_reviews` writes reviews by a grammar. Here, four
# and five stars are praise, and all others are complaints. The new reviews, which
# measure the gain, have right labels.

import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from skclif import InfluenceReweighter, SentenceEmbedder
from skclif.datasets import make_concept_reviews
from skclif.metrics import make_clean_scorer

reviews = make_concept_reviews(1300, random_state=0)
truth = np.where(reviews.target >= 4, "praise", "complaint")
texts, new_texts = reviews.data[:800], reviews.data[800:]
truth, new_y = truth[:800], truth[800:]

rng = np.random.default_rng(0)
is_clean = np.arange(800) < 200
wrong = ~is_clean & (truth == "complaint") & (rng.random(800) < 0.5)
y = np.where(wrong, "praise", truth)
print(
    f"{wrong.sum()} of {len(y)} labels are wrong, {is_clean.sum()} are known as right"
)

# %%
# One search
# ----------
#
# The reweighter is an estimator around the whole pipeline. Its `strength` says how far
# weights move, and 0 is one of the candidates. Texts are embedded once per fit, and
# with a cache only once in total.
#
# Accuracy on wrong labels would be a poor judge, so candidates are scored on clean rows
# only: :func:`~skclif.metrics.make_clean_scorer`. With metadata routing, which rows are
# clean goes to the reweighter and to the scorer. The table shows the accuracy on clean
# rows.

sklearn.set_config(enable_metadata_routing=True)

cache = tempfile.TemporaryDirectory()
text_clf = make_pipeline(
    SentenceEmbedder(cache_dir=cache.name), LogisticRegression(max_iter=1000)
)
reweighter = InfluenceReweighter(text_clf, random_state=0)
clean_accuracy = make_clean_scorer("accuracy")
folds = StratifiedKFold(3, shuffle=True, random_state=0)
penalties = {"estimator__logisticregression__C": [1, 3]}

strengths = {"strength": [0, 1, 4], **penalties}
search = GridSearchCV(reweighter, strengths, cv=folds, scoring=clean_accuracy)
search.fit(texts, y, is_clean=is_clean)

pd.DataFrame(search.cv_results_).pivot(
    index="param_strength",
    columns="param_estimator__logisticregression__C",
    values="mean_test_score",
).rename_axis(index="strength", columns="C").round(3)

# %%
# Looking at the weights
# ----------------------
#
# Every row has its weight in ``sample_weight_``, where 1 is the weight before. Rows
# with wrong labels have lost much of their weight, although nobody said which rows
# these are. Some rows with right labels have lost weight too: influence measures
# whether a row helps, not whether it is right.

best = search.best_estimator_
weights = best.sample_weight_
print(search.best_params_)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for name, colour in [("right", "tab:blue"), ("wrong", "tab:orange")]:
    group = wrong if name == "wrong" else ~wrong & ~is_clean
    influence = 1000 * best.influence_[group]
    axes[0].hist(weights[group], 30, alpha=0.6, label=name, color=colour)
    axes[1].scatter(influence, weights[group], s=8, label=name, color=colour)
axes[0].set(xlabel="learned weight", ylabel="rows")
axes[0].legend(title="label")
axes[1].axvline(0, color="0.7", zorder=0)
axes[1].set(
    xlabel="influence on the clean rows' loss\n(1/1000 nats, positive = harmful)",
    ylabel="learned weight",
)
plt.show()

# %%
# The five rows of least weight, with their true labels:

rows = pd.DataFrame({"text": texts, "label": y, "truth": truth, "weight": weights})
rows.nsmallest(5, "weight").round(2)

# %%
# The gain
# --------
#
# The comparison is with the same pipeline without learned weights. It has the clean
# rows too, and its penalty was chosen by the same search. Both predict the same new
# reviews, so we compare them review by review. Drawing reviews with replacement many
# times gives an interval for the mean difference. A difference in accuracy is good if
# it is positive, a difference in log-loss (nats) if it is negative.

unchanged = {"strength": [0], **penalties}
plain = GridSearchCV(reweighter, unchanged, cv=folds, scoring=clean_accuracy)
plain.fit(texts, y, is_clean=is_clean)


def losses(fitted):
    """Return the log-loss of every new review."""
    own = np.searchsorted(fitted.classes_, new_y)
    return -np.log(fitted.predict_proba(new_texts)[np.arange(len(own)), own])


def bootstrapped(differences, n_draws=2000):
    """Return the mean difference and its interval, as text."""
    draws = np.random.default_rng(0).choice(differences, (n_draws, len(differences)))
    low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
    return f"{differences.mean():+.3f} (95 % interval {low:+.3f} to {high:+.3f})"


hits, plain_hits = (
    (fitted.predict(new_texts) == new_y).astype(float) for fitted in (search, plain)
)
print(f"accuracy, weights as given: {plain_hits.mean():.3f}")
print(f"accuracy, learned weights:  {hits.mean():.3f}")
print("difference in accuracy:    ", bootstrapped(hits - plain_hits))
print("difference in log-loss:    ", bootstrapped(losses(search) - losses(plain)))

# %%
# The weights are an ordinary array. A pipeline of another kind takes them by the name
# of its step:

sklearn.set_config(enable_metadata_routing=False)

other = make_pipeline(TfidfVectorizer(), LinearSVC())
for name, given in [("as given", None), ("learned", weights)]:
    other.fit(texts, y, linearsvc__sample_weight=given)
    print(f"TF-IDF, linear SVC, weights {name}: {other.score(new_texts, new_y):.3f}")

# %%
# What to take away
# -----------------
#
# If labels are wrong in a systematic way and some rows are known to be right, learned
# weights recover much of what was lost, and any classifier can use them. If there is
# nothing to gain, ``strength="auto"`` leaves the weights as they are; ``reason_`` then
# says what was tried.
