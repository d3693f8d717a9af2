"""
The rows behind a mistake
=========================

A review is predicted wrong. Which training reviews pushed the model there, and through
what: their label, or the annotation of one concept? And through which words?
"""

# %%
# Explain a pipeline
# ------------------
#
# The explainer takes the whole pipeline and fits it. Texts stay readable in everything
# that it returns.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceDisplay,
)
from skclif.datasets import make_concept_reviews

reviews = make_concept_reviews(
    450, label_noise=0.1, annotation_noise=0.1, random_state=2
)
train, test = slice(0, 350), slice(350, 450)
pipe = make_pipeline(
    TfidfVectorizer(sublinear_tf=True), ConceptBottleneckClassifier(C=10)
)
explainer = ConceptInfluenceExplainer(pipe)
explainer.fit(
    reviews.data[train], reviews.target[train], concepts=reviews.concepts[train]
)

# %%
# The worst mistake
# -----------------

texts, stars = reviews.data[test], reviews.clean_target[test]
proba = explainer.estimator_.predict_proba(texts)
own = proba[np.arange(len(stars)), np.searchsorted(explainer.classes_, stars)]
worst = int(own.argmin())
print(texts.iloc[worst])
print(f"True label: {stars.iloc[worst]} with probability {own[worst]:.3f}")

# %%
# Influence is the effect of a row's presence on the log-loss of this review, in nats.
# Positive is harmful: without the row the loss would be lower. With `paths=True` it is
# split into the row's label, each of its annotations, and what they do together.

result = explainer.influence(texts.iloc[[worst]], stars.iloc[[worst]], paths=True)
InfluenceDisplay(result).plot(k=5)
plt.show()

# %%
# Through which words
# -------------------
#
# With word counts the influence of a row is a sum over its words.

first = int(result.harmful(1)["row"].iloc[0])
result.words(first).head(8).round(4)

# %%
# What to take away
# -----------------
#
# - Bars to the right are rows that harm this prediction, bars to the left are rows that
#   help it. The pieces say through which label or annotation.
# - Read the rows. A row that harms one review can be right, and help others.
# - One mistake says little about the model. Ask about the mean loss of many rows with
#   `reduce="mean"` before you change training data.
