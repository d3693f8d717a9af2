"""Write reviews.csv, generated reviews with errors, to try the command line on.

    python examples/make_reviews.py

One label in twenty and one annotation in ten is wrong.
"""

from skclif.datasets import make_concept_reviews

reviews = make_concept_reviews(
    600, label_noise=0.05, annotation_noise=0.1, random_state=0
)
reviews.frame.to_csv("reviews.csv", index=False)
print(f"reviews.csv: {len(reviews.frame)} rows of {', '.join(reviews.frame)}")
