"""Texts and questions that `exports/write.py` and the tests share."""

from skclif._annotation_tools.questions import Question

TEXTS = [
    'Good soup, "to die for", but cold.',
    "Cold; late.\nAnd dear.",
    "Two hours for nothing",
    "Nobody annotated this one",
    "This one was skipped",
]


def questions():
    """Return made-up questions: a concept, a number, and a missing annotation."""

    def line(i, path, current, proposed, **more):
        kind = "relabel" if path == "label" else "annotate"
        return {
            "kind": kind,
            "id": i,
            "text_hash": "h:0123456789abcdef",
            "path": path,
            "current": current,
            "proposed": proposed,
            **more,
        }

    odd = "so \"<so\" & 'so'"
    return [
        Question(
            line("001", "mood", odd, "good", probability_wrong="0.9"),
            TEXTS[0],
            ["bad", "good", odd, "unannotated"],
            guess="good",
            score=0.75,
        ),
        Question(
            line("002", "price", "2.5", "3.5"),
            TEXTS[1],
            ["2.5", "unannotated"],
            is_number=True,
            guess="3.5",
        ),
        Question(
            line("003", "mood", "", "", guess="bad", effect="-0.01"),
            TEXTS[2],
            ["bad", "good", odd],
            guess="bad",
            score=0.5,
        ),
        Question(line("004", "label", "1", "2"), TEXTS[3], ["1", "2", "3"]),
    ]
