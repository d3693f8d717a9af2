"""
Correcting concepts
===================

A person reads a text and sees that the model misread a concept. What happens to the
label if the concept is corrected? And which concept should people look at first?
"""

# %%
# A model of words
# ----------------
#
# Labels and annotations of the held-out reviews are right, so that they can stand in
# for a careful reader.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from skclif import ConceptBottleneckClassifier
from skclif.datasets import make_concept_reviews
from skclif.metrics import (
    ConceptEffectDisplay,
    InterventionCurveDisplay,
    concept_effects,
    intervention_curve,
)

reviews = make_concept_reviews(
    600, label_noise=0.05, annotation_noise=0.05, random_state=1
)
train, test = slice(0, 450), slice(450, 600)
words = TfidfVectorizer(sublinear_tf=True).fit(reviews.data[train])
X, X_test = words.transform(reviews.data[train]), words.transform(reviews.data[test])
known = reviews.clean_concepts[test].reset_index(drop=True)
stars = reviews.clean_target[test]

clf = ConceptBottleneckClassifier(C="auto", concept_C="auto")
clf.fit(X, reviews.target[train], concepts=reviews.concepts[train])

# %%
# One review
# ----------
#
# `intervene` puts known values in the place of predicted ones. A data frame may name
# only some of the concepts; the others stay as predicted.

misread = (clf.predict_concepts(X_test) != known).any(axis=1)
row = int(misread.idxmax())
print(reviews.data[test].iloc[row])
before = clf.predict_proba(X_test[[row]])[0]
after = clf.intervene(X_test[[row]], known.iloc[[row]])[0]
pd.DataFrame(
    {"as predicted": before, "corrected": after},
    index=pd.Index(clf.classes_, name="stars"),
).round(3)

# %%
# Which concept first?
# --------------------
#
# The curve scores the label after 0, 1, 2 … corrections of each review. People can
# follow the orders "uncertainty" and "influence", because they need no true values.

fig, ax = plt.subplots(layout="constrained")
for order in ("random", "uncertainty", "influence"):
    curve = intervention_curve(
        clf, X_test, stars, known, order=order, n_repeats=5, random_state=0
    )
    InterventionCurveDisplay(curve).plot(ax=ax)
plt.show()

# %%
# What each value means to the model
# ----------------------------------
#
# One concept at a time is set to each of its values in all reviews. Marks show by how
# much the probability of one star and of five stars changes.

ConceptEffectDisplay(concept_effects(clf, X_test)).plot()
plt.show()

# %%
# What to take away
# -----------------
#
# - Corrections of concepts change the label at once. Nothing is trained again.
# - Measure what they are worth on held-out rows before people are asked for them:
#   :func:`~skclif.metrics.intervention_curve`.
# - A good order saves work: the first corrections should be those that matter.
# - :func:`~skclif.metrics.concept_effects` describes the model, not the world. A value
#   with an effect of the wrong sign is a reason to look at its annotations.
