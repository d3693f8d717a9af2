"""
Concepts from prompts in five minutes
=====================================

Most people have texts and labels, and nobody has annotated a concept. Here, a few
sentences that say what a concept means take the place of annotations. Then a few
annotations make them better. In the end, there is a bottleneck that says by which
aspects it predicts.
"""

# %%
# Say what you mean
# -----------------
#
# A prompt is what a text would say if a concept had a value. One or two for each value
# are enough to begin with. A value without prompts is what no prompt of the others
# matches: here, that the review says nothing of it. In a file, prompts are YAML or
# JSON, and :func:`~skclif.read_prompts` reads them.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skclif import ConceptAnnotator, ConceptBottleneckClassifier, SentenceEmbedder
from skclif.datasets import make_concept_reviews

prompts = {
    "food": {
        "Positive": ["The food was delicious.", "The soup was lovely."],
        "Negative": ["The food was awful.", "The soup was bland and cold."],
        "unknown": [],
    },
    "ambiance": {
        "Positive": ["The room was lovely.", "The decor was charming."],
        "Negative": ["The room was ugly.", "The decor was dull."],
        "unknown": [],
    },
    "service": {
        "Positive": ["The waiter was friendly.", "The service was excellent."],
        "Negative": ["The waiter was rude.", "The service was slow."],
        "unknown": [],
    },
    "noise": {
        "Positive": ["It was quiet.", "The music was pleasant."],
        "Negative": ["It was too loud.", "The music was annoying."],
        "unknown": [],
    },
}

# %%
# Annotate
# --------
#
# The reviews are written by a grammar that is hard on prompts: praise is often negated
# blame, and reviews name subjects without judging them. Three hundred are to be
# annotated, a hundred are to see how well that went. Their right annotations are known,
# and stand in for careful people.

reviews = make_concept_reviews(400, label_noise=0.05, random_state=0)
texts, y = reviews.data[:300], reviews.target[:300]
people = reviews.clean_concepts[:300]
texts_test, y_test = reviews.data[300:], reviews.clean_target[300:]
truth = reviews.clean_concepts[300:].reset_index(drop=True)

annotator = ConceptAnnotator(prompts, output="soft")
shares = annotator.fit_transform(texts)
print(texts[0])
shares.loc[0].round(2).to_frame("share")

# %%
# Shares are a guess with its doubt. The value with the largest share is right more
# often than the most common value is, with no annotation at all. On real reviews,
# prompts do much better: the user guide has the numbers.

annotator.set_params(output="categories", threshold=0)


def right(found):
    """Return the share of right values, over all concepts."""
    return (found.to_numpy() == truth.to_numpy()).mean()


print(f"right by prompts alone: {right(annotator.transform(texts_test)):.0%}")
print(f"always the most common value: {right(truth.mode().iloc[[0]]):.0%}")

# %%
# A few annotations
# -----------------
#
# Now somebody annotates the first 10, 30, 100 reviews. `fit` takes them, and what is
# missing is NaN. A head for each concept begins at the prompts, and moves as far as the
# annotations ask. Beside it are heads that have the same annotations and no prompts.

embedder = SentenceEmbedder()
X, X_test = embedder.transform(texts), embedder.transform(texts_test)
counts, with_prompts, alone = [0, 10, 30, 100, 300], [], []
for n in counts:
    given = people.head(n).reindex(people.index)
    annotator.fit(texts, concepts=given)
    with_prompts.append(right(annotator.transform(texts_test)))
    if n:
        heads = ConceptBottleneckClassifier().fit(X[:n], y[:n], concepts=people[:n])
        alone.append(right(heads.predict_concepts(X_test)))

fig, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
ax.plot(range(5), with_prompts, "o-", color="#00798c", label="prompts and annotations")
ax.plot(range(1, 5), alone, "s--", color="#d1495b", label="annotations alone")
ax.set_xticks(range(5), counts)
ax.set_xlabel("annotated reviews")
ax.set_ylabel("right values (share)")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
assert with_prompts[1] > alone[0]

# %%
# A bottleneck on top
# -------------------
#
# Say that there are thirty annotated reviews. `fit_transform` gives back what people
# said as it is, and shares for all others. A bottleneck takes both in one table, and
# weights: here, what a person said counts four times as much.

few = people.head(30).reindex(people.index)
concepts = annotator.set_params(output="soft").fit_transform(texts, concepts=few)
weights = pd.DataFrame(np.where(few.notna(), 1.0, 0.25), columns=list(prompts))
bottleneck = ConceptBottleneckClassifier(C="auto", concept_C="auto")
bottleneck.fit(X, y, concepts=concepts, concept_sample_weight=weights)

print(f"right stars: {bottleneck.score(X_test, y_test):.0%}", end=", ")
print(f"always the most common stars: {(y_test == y.mode()[0]).mean():.0%}")
row = [0]
stars = bottleneck.predict(X_test[row])[0]
print(texts_test.iloc[0])
print("predicted stars:", stars, "- true stars:", y_test.iloc[0])
contributions = bottleneck.contributions(X_test[row])
for_stars = contributions.values[0, list(contributions.classes).index(stars)]
pd.DataFrame(
    {
        "predicted": bottleneck.predict_concepts(X_test[row]).iloc[0],
        "true": truth.loc[0],
        "log-odds for these stars": for_stars[:-1].round(2),
    }
)

# %%
# What to take away
# -----------------
#
# - Prompts cost minutes. Look at what they get wrong, and write them in the words that
#   your texts use.
# - Annotate a few texts early: even ten begin to tell the annotator how common
#   each value is, which no prompt can say.
# - What came from prompts is a guess. Judge a bottleneck on concepts that people
#   annotated, never on what the annotator said.
