"""
A first audit
=============

A classifier reads restaurant reviews and predicts stars. Some of its training labels
and annotations are wrong, as in any real data. Here we know which, because we plant
the errors. This example asks which training rows caused the model's errors, and through
which label or annotation. Then it retrains for real to see whether the answer holds.
"""

# %%
# Reviews with known errors
# -------------------------
#
# :func:`~skclif.datasets.make_concept_reviews` writes reviews by a grammar. One label
# in five is wrong, one annotation in ten is wrong, and another tenth of the annotations
# is missing. The training rows keep their errors. Two held-out parts are clean: one to
# ask about, and one that is used only at the end.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import log_loss

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)
from skclif.datasets import make_concept_reviews

reviews = make_concept_reviews(
    700, label_noise=0.2, annotation_noise=0.1, missing=0.1, random_state=0
)
train, asked, unseen = slice(0, 400), slice(400, 550), slice(550, 700)
y, concepts = reviews.target[train], reviews.concepts[train]
y_asked, y_unseen = reviews.clean_target[asked], reviews.clean_target[unseen]

print(reviews.data[0])
pd.concat([y, concepts], axis=1).head(4)

# %%
# From texts to concepts to stars
# -------------------------------
#
# Texts become vectors once, and everything after works on the vectors. The model
# predicts each concept from the vector. It predicts the stars from the predicted
# concepts only. `concepts` may hold missing values; they are left out. The log-loss is
# in nats, and lower is better.

X = SentenceEmbedder().transform(reviews.data)

bottleneck = ConceptBottleneckClassifier(C=1, concept_C=1)
explainer = ConceptInfluenceExplainer(bottleneck)
explainer.fit(X[train], y, concepts=concepts)
model = explainer.estimator_

loss = log_loss(y_asked, model.predict_proba(X[asked]))
print(f"Held-out log-loss: {loss:.3f} nats")
print(f"Accuracy: {model.score(X[asked], y_asked):.0%}", end=", ")
print(f"always the most common stars: {(y_asked == y.mode()[0]).mean():.0%}")

# %%
# That is not a good model. One to five stars are hard to tell apart in a few short
# sentences, and the training reviews are few and have errors. So it is worth asking
# what the model learned from them. First we check that the model predicts each concept
# better than its most common value does. If it does not, paths through that concept
# mean little. The numbers are shares of right values.

truth = reviews.clean_concepts[asked].reset_index(drop=True)
predicted = model.predict_concepts(X[asked])
pd.DataFrame(
    {
        "most common value": (truth == concepts.mode().iloc[0]).mean(),
        "predicted": (truth == predicted).mean(),
    }
).round(2)

# %%
# Which training rows caused the loss?
# ------------------------------------
#
# The influence of a training row is the effect of its *presence* on the target, here
# the mean held-out log-loss in nats. Positive means harmful: without the row the loss
# would be lower. Influence is the sum of *paths*: the row's label, each of its
# annotations, and what these do to each other when the whole row is removed.

result = explainer.influence(X[asked], y_asked, reduce="mean", paths=True)
harmful = result.harmful(20)
harmful.head(5)

# %%
# We know which errors we planted, so we can compare. Hatched parts are planted errors.

wrong = np.column_stack([reviews.label_flipped, reviews.annotation_flipped])[train]
palette = ["#3d4451", "#d1495b", "#edae49", "#00798c", "#66a182", "#d5d9e0"]
colours = dict(zip(result.paths, palette, strict=True))


def draw_paths(ax, rows):
    """Draw the influence of rows as bars with a segment per path, errors hatched."""
    ends = {1: np.zeros(len(rows)), -1: np.zeros(len(rows))}
    for p, path in enumerate(result.paths):
        values = 1000 * result.values[0, rows, p]
        for sign, end in ends.items():
            part = np.where(np.sign(values) == sign, values, 0)
            bars = ax.barh(
                range(len(rows)), part, left=end, color=colours[path], height=0.72
            )
            end += part
            for bar, row in zip(bars, rows, strict=True):
                if path != "interaction" and wrong[row, p]:
                    bar.set(hatch="////", edgecolor="white", linewidth=0)
    ax.margins(x=0.03)
    ax.axvline(0, color="#3d4451", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [f"row {row}" for row in rows])
    ax.invert_yaxis()


rows = harmful["row"].to_numpy()
fig, ax = plt.subplots(figsize=(7.5, 5.6), layout="constrained")
draw_paths(ax, rows)
handles = [plt.Rectangle((0, 0), 1, 1, color=c) for c in colours.values()]
hatched = {"fc": "#b9bec7", "ec": "white", "hatch": "////", "lw": 0}
handles.append(plt.Rectangle((0, 0), 1, 1, **hatched))
fig.legend(handles, [*result.paths, "planted error"], loc="outside right upper")
ax.set_xlabel("influence on the mean held-out log-loss (thousandths of a nat)")
ax.set_title("The 20 most harmful training rows, path by path", loc="left")
ax.spines[["top", "right"]].set_visible(False)

# %%
# Rows with a planted error are more common at the top than elsewhere. Still, many of
# the most harmful rows are right. **Harmful is not wrong**: a correct review that says
# something unusual can cost a small model more than it teaches. Influence answers "what
# did this row do to that loss?", not "is this label a mistake?".

has_error = wrong.any(axis=1)
print(f"Rows with a planted error: {has_error.mean():.0%} of all training rows,")
print(f"{has_error[rows].mean():.0%} of the 20 most harmful ones")
assert has_error[rows].mean() > has_error.mean()

# %%
# Why this mistake?
# -----------------
#
# The same question can be asked about one prediction. This is the worst mistake among
# the reviews that we asked about: the text, and what the model predicts for each
# concept. The effect of a concept is ``log p(predicted stars)`` as it is, minus the
# same with the concept set to its training average. Positive means that the concept
# supports the prediction.

losses = explainer.influence(X[asked], y_asked, top=1).explained["value"]
is_mistake = model.predict(X[asked]) != y_asked
worst = losses[is_mistake.to_numpy()].idxmax()
review = X[asked][[worst]]

print(reviews.data[asked].iloc[worst])
print(f"Stars: {y_asked.iloc[worst]}, predicted: {model.predict(review)[0]}")
pd.DataFrame(
    {
        "true": truth.loc[worst],
        "predicted": predicted.loc[worst],
        "effect (nats)": explainer.transform(review)[0].round(2),
    }
)

# %%
# These training rows raised the loss of this review the most. `path` is the label or
# the annotation that carries most of a row's influence.

culprits = explainer.influence(review, y_asked.iloc[[worst]], paths=True).harmful(3)
for culprit in culprits.itertuples():
    print(f"row {culprit.row}, through {culprit.path}: {culprit.influence:+.3f} nats")
    print(f"  {reviews.data[culprit.row]}")

# %%
# Does it hold?
# -------------
#
# A number that explains should also predict. For some training rows, `validate` fits
# both stages again without the row. It compares what really happened to each loss with
# what influence says: by Newton steps, which computed the numbers above, and by the two
# faster methods for larger training sets. Correlations and sign agreement are best at
# 1, the relative error is best at 0.

print(f"Influence above: by {result.method}")
validation = explainer.validate(X[asked], y_asked, n_rows=20, n_paths=0, random_state=0)
drawing = validation.plot()
drawing.figure_.set_size_inches(6, 4.6)
drawing.ax_.spines[["top", "right"]].set_visible(False)
measured = validation.to_frame().set_index("method")
assert measured.loc["newton", "relative_error"] < 0.01
measured[["pearson", "spearman", "relative_error", "sign_agreement"]].round(4)

# %%
# Removing several rows together is another question. Influence predicts minus the sum
# of their influences. So we remove the most harmful rows, retrain, and compare. Each
# row's influence was computed with all others present, so the two can differ more as
# more rows are removed. Here they stay close.


def retrained_without(rows):
    """Return a new model, fitted on the other training rows."""
    kept = np.setdiff1d(np.arange(len(y)), rows)
    return clone(bottleneck).fit(
        X[train][kept], y.iloc[kept], concepts=concepts.iloc[kept]
    )


counts = [1, 3, 5, 10, 20, 30, 40]
stated, real, on_unseen = [], [], []
loss_unseen = log_loss(y_unseen, model.predict_proba(X[unseen]))
for k in counts:
    worst_rows = result.harmful(k)
    without = retrained_without(worst_rows["row"])
    stated.append(-worst_rows["influence"].sum())
    real.append(log_loss(y_asked, without.predict_proba(X[asked])) - loss)
    on_unseen.append(log_loss(y_unseen, without.predict_proba(X[unseen])) - loss_unseen)

assert (np.array(real) < 0).all()  # the direction is as stated, every time
np.testing.assert_allclose(stated, real, rtol=0.15)

fig, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
ax.axhline(0, color="#3d4451", linewidth=0.8)
ax.plot(counts, stated, "o--", color="#00798c", label="stated by influence")
ax.plot(counts, real, "o-", color="#d1495b", label="real, after retraining")
ax.plot(counts, on_unseen, "o-", color="#9aa1ac", label="real, on other reviews")
ax.set_xlabel("most harmful training rows removed")
ax.set_ylabel("change of the mean log-loss (nats)")
ax.set_title("What influence states, and what retraining gives", loc="left")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

# %%
# What to take away
# -----------------
#
# - Influence names training rows *and the path*: the label, or the one annotation.
# - It states a direction and a size. Retraining can check both; `validate` does this
#   for single rows.
# - Harmful is not wrong. Influence finds planted errors more often than chance does,
#   and many of the rows that it names are correct. Read them before you change them.
# - Judge a repair by the grey line. Rows that were chosen by the loss of some reviews
#   lower the loss of those reviews first. On reviews that had no part in the choice,
#   the gain is smaller, and with another `random_state` it can be a loss. Influence
#   says which rows to look at. It is no reason to drop rows without looking.
