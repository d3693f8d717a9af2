"""
Repair without retraining
=========================

Some labels and annotations are wrong. This example lists the suspects, lets a careful
reader decide, and edits the model. Then it looks at what the edit changed on reviews
that had no part in it.
"""

# %%
# Suspects
# --------
#
# One label in five and one annotation in five is wrong. Every label and annotation gets
# a probability of being wrong, by what the other rows say of it.

import matplotlib.pyplot as plt
from sklearn.feature_extraction.text import TfidfVectorizer

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer, EditDisplay
from skclif.datasets import make_concept_reviews

reviews = make_concept_reviews(
    550, label_noise=0.2, annotation_noise=0.2, random_state=3
)
train, test = slice(0, 350), slice(350, 550)
words = TfidfVectorizer(sublinear_tf=True).fit(reviews.data[train])
X, X_test = words.transform(reviews.data[train]), words.transform(reviews.data[test])
y, concepts = reviews.target[train], reviews.concepts[train]

explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier(C=10))
explainer.fit(X, y, concepts=concepts)
suspects = explainer.suspect_labels()
suspects.head()[["row", "path", "current", "proposed", "probability_wrong"]]

# %%
# Decide
# ------
#
# A person reads the lines that are probably wrong, and accepts what really is, with the
# true value. Here the truth is known, and stands in for the person.

read = suspects[suspects["probability_wrong"] >= 0.5]
labels, annotations = {}, {}
for row, path in zip(read["row"], read["path"], strict=True):
    if path == "label":
        true, old = reviews.clean_target[row], y[row]
    else:
        true, old = reviews.clean_concepts.loc[row, path], concepts.loc[row, path]
    if true == old:
        continue  # a false alarm: nothing is changed
    if path == "label":
        labels[row] = true
    else:
        annotations.setdefault(path, {})[row] = true
n_wrong = len(labels) + sum(map(len, annotations.values()))
print(f"{len(read)} lines read, {n_wrong} of them wrong")

# %%
# Edit
# ----
#
# The edited model is the one that retraining on the corrected rows would give, started
# from the current one. Nothing else changes, and the record says what did.

edited = explainer.edit(y=labels, concepts=annotations)
print(edited.record)

# %%
# Before and after, on reviews that neither trained the model nor chose the edit. The
# interval pairs each review with itself.

comparison = edited.compare(X_test, reviews.clean_target[test])
fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
EditDisplay(comparison).plot(ax=axes[0])
EditDisplay(comparison).plot(score="accuracy", ax=axes[1])
plt.show()

# %%
# What to take away
# -----------------
#
# - Suspects are for reading. The list says what is probably wrong; a person says what
#   is.
# - An edit is retraining, only quicker: the result is the same model.
# - Judge an edit on rows that had no part in it, with the interval of the change. If it
#   holds 0, these rows do not show that the edit helped.
