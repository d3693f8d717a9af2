"""
Learning weights in a grid search
=================================

Half of the complaints in this training set were filed as praise, and nobody knows
which. What somebody does have is two hundred reviews that were read twice. This example
lets them say, through influence, which of the other rows to believe, chooses how far to
go together with the penalty in one grid search, looks at the weights, and measures on
new reviews what was won.
"""

# %%
# Labels that cannot be trusted, and some that can
# ------------------------------------------------
#
# :func:`~skclif.datasets.make_concept_reviews` writes reviews by a grammar; four and
# five stars are praise here, all else is a complaint. The reviews to judge by are filed
# right.

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
# The reweighter goes around the whole pipeline and is one more estimator: how far
# weights move is its `strength`, and 0 is among the candidates. Texts are embedded once
# a fit, and with a cache only once at all.
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
reweighter.set_score_request(sample_weight="is_clean")
folds = StratifiedKFold(3, shuffle=True, random_state=0)
penalties = {"estimator__logisticregression__C": [1, 3]}

search = GridSearchCV(reweighter, {"strength": [0, 1, 4], **penalties}, cv=folds)
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
# Every row has its weight in ``sample_weight_``. Wrong labels have lost much of theirs,
# though no one said which they are. Some right ones have too: what influence measures
# is whether a row helps, not whether it is right.

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
# The five rows of least weight, and what they should have been filed as:

rows = pd.DataFrame({"text": texts, "label": y, "truth": truth, "weight": weights})
rows.nsmallest(5, "weight").round(2)

# %%
# What was won
# ------------
#
# The same pipeline without learned weights, its penalty chosen by the same search, is
# the one to beat: it has the clean rows too. Both judge the same new reviews, so it is
# the difference on each review that counts; drawing reviews again and again, with
# replacement, gives its interval.

plain = GridSearchCV(reweighter, {"strength": [0], **penalties}, cv=folds)
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
# The weights are an array like any other. A pipeline of another kind takes them by the
# name of its step:

sklearn.set_config(enable_metadata_routing=False)

other = make_pipeline(TfidfVectorizer(), LinearSVC())
for name, given in [("as given", None), ("learned", weights)]:
    other.fit(texts, y, linearsvc__sample_weight=given)
    print(f"TF-IDF, linear SVC, weights {name}: {other.score(new_texts, new_y):.3f}")

# %%
# What to take away
# -----------------
#
# Where labels are wrong in a way of their own and some rows are known to be right,
# learned weights win back much of what was lost, and any classifier can use them. Where
# there is nothing to win, ``strength="auto"`` decides to do nothing, and says so in
# ``strength_``.
