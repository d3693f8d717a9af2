"""Questions about values of rows, as tasks of Label Studio.

One label config serves all tasks: a task brings its question and the values to choose
from, so that a value may have any characters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .annotated import Record

CHOICE, NUMBER = "value", "number"  # names of the controls
# What the data of a task has besides the columns of a line of decisions.
QUESTION, CHOICES = "question", "choices"
_CONFIG = """<View>
  <Header value="$question"/>
  <Text name="text" value="$text"/>
  <Choices name="{choice}" toName="text" value="$choices" choice="single"/>
{number}</View>
"""
_NUMBER = """  <Header value="or, where the question is about a number, that number"/>
  <Number name="{number}" toName="text"/>
"""


@dataclass(frozen=True)
class Question:
    """A question about one value of a row.

    Attributes
    ----------
    line : dict of str to str
        The line of decisions that it is about: kind, id, text_hash, path, current,
        proposed, and what else the line has.
    text : str
    words : list of str
        The values to choose from, the present one included; a number may be written in
        if they are not all.
    is_number : bool, default=False
        Whether other numbers may be written in.
    guess : str, default=""
        What the model says: the proposed value, or its guess where there is none.
    score : float or None, default=None
        The probability of the guess.
    """

    line: dict[str, str]
    text: str
    words: list[str] = field(default_factory=list)
    is_number: bool = False
    guess: str = ""
    score: float | None = None


def tasks(questions: list[Question], model_version: str) -> list[Record]:
    """Return tasks of Label Studio, each with what the model predicts.

    Parameters
    ----------
    questions : list of Question
    model_version : str
        Of the predictions.
    """
    return [_task(question, model_version) for question in questions]


def label_config(questions: list[Question]) -> str:
    """Return the label config of a project for these tasks, as XML."""
    has_numbers = any(question.is_number for question in questions)
    number = _NUMBER.format(number=NUMBER) if has_numbers else ""
    return _CONFIG.format(choice=CHOICE, number=number)


def _task(question: Question, model_version: str) -> Record:
    data: Record = dict(question.line)
    data["text"] = question.text
    data[QUESTION] = _asked(question)
    data[CHOICES] = [{"value": word} for word in question.words]
    task: Record = {"data": data}
    result = _result(question)
    if result is not None:
        prediction: Record = {"model_version": model_version, "result": [result]}
        if question.score is not None:
            prediction["score"] = question.score
        task["predictions"] = [prediction]
    return task


def _asked(question: Question) -> str:
    path, current = question.line["path"], question.line["current"]
    if not current:
        return f"What is the {path} of this text? It is not annotated."
    return f"What is the {path} of this text? It is annotated as: {current}"


def _result(question: Question) -> dict[str, Any] | None:
    """Return the prediction of a question, None without one."""
    name, kind = CHOICE, "choices"
    value: dict[str, Any] = {"choices": [question.guess]}
    if question.guess not in question.words:
        if not question.guess or not question.is_number:
            return None
        name, kind, value = NUMBER, "number", {"number": float(question.guess)}
    return {"from_name": name, "to_name": "text", "type": kind, "value": value}
