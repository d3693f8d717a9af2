"""
What a bottleneck costs
=======================

How good are plain words on these texts, and what is lost when the label has to go
through concepts? This example compares quick models by cross-validation, and then looks
into the bottleneck, which the others do not allow.
"""

# %%
# Quick models first
# ------------------
#
# One label in twenty is wrong. :func:`~skclif.compare_baselines` predicts every text by
# models that have not seen it, the cheapest first. Here we leave out sentence vectors
# (`vectors=False`), so that no embedding model is needed.

import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skclif import ConceptBottleneckClassifier, compare_baselines
from skclif.datasets import make_concept_reviews

reviews = make_concept_reviews(
    600, label_noise=0.05, annotation_noise=0.05, random_state=0
)
comparison = compare_baselines(
    reviews.data,
    reviews.target,
    reviews.concepts,
    cv=3,
    vectors=False,
    random_state=0,
)
comparison.frame[["model", "accuracy", "log_loss", "log_loss_low", "log_loss_high"]]

# %%
# The line of the gold concepts is what people's own annotations allow: the label from
# the right values, with no text at all. It is the ceiling of every bottleneck. Where
# words alone are better, the concepts leave out something that the label depends on;
# where a bottleneck is better than its ceiling, suspect leakage.

comparison.plot()
plt.show()

# %%
# Into the bottleneck
# -------------------
#
# Concepts are what a person can read. Every prediction of the label is a sum of
# contributions, one for each concept.

train, test = slice(0, 450), slice(450, 600)
pipe = make_pipeline(
    TfidfVectorizer(sublinear_tf=True),
    ConceptBottleneckClassifier(C="auto", concept_C="auto"),
)
pipe.fit(
    reviews.data[train],
    reviews.target[train],
    conceptbottleneckclassifier__concepts=reviews.concepts[train],
)
words, clf = pipe[:-1], pipe[-1]
predicted = clf.predict_concepts(words.transform(reviews.data[test]))
truth = reviews.clean_concepts[test].reset_index(drop=True)
print("Share of right values")
print((predicted == truth).mean().round(2).to_string())

# %%
# What to take away
# -----------------
#
# - Compare with plain words before anything else. They are quick, and often good.
# - The gold concepts say how much of the label the concepts hold at all. If that is too
#   little, better vectors will not help; other concepts may.
# - A bottleneck gives up some accuracy for something that people can read, correct and
#   trace. Whether that is worth it depends on who has to answer for the predictions.
