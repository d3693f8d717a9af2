"""Write reviews.csv, generated reviews with errors, to try the command line on.

    python examples/make_reviews.py

One label in twenty and one annotation in ten is wrong.
"""

import sys
from pathlib import Path

from skclif.datasets import make_concept_reviews

path = Path("reviews.csv")
if path.exists():
    sys.exit(f"{path} is here already and was not replaced: use it, or move it away.")
reviews = make_concept_reviews(
    600, label_noise=0.05, annotation_noise=0.1, random_state=0
)
reviews.frame.to_csv(path, index=False)
print(f"{path}: {len(reviews.frame)} rows of {', '.join(reviews.frame)}")
