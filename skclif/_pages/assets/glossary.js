// What words of statistics on this page mean, for people who do not work with them.

const GLOSSARY = [
  [
    "concept, annotation",
    "A concept is something that people can say of a text, such as the service. An annotation is what they said of it.",
  ],
  [
    "bottleneck",
    "A model that first reads the concepts in a text, and then makes the label of these alone.",
  ],
  [
    "black box",
    "A model of the same kind that makes the label of the text at once. Nobody can see why.",
  ],
  ["label head", "The second step of the bottleneck: from concepts to the label."],
  ["held-out texts", "Texts that the model was not trained on. All scores are of these."],
  [
    "log-loss, nats",
    "How surprised a model is by the true labels: 0 if it was sure of each, 0.69 nats if it gave each a probability of one half. Lower is better.",
  ],
  [
    "log-odds",
    "How far something pushes from one label, or one value of a concept, to another. Its size tells bars and words apart; the probabilities say what comes out.",
  ],
  [
    "marked words",
    "The words that push the model most. The numbers of all words and of a constant add up to the log-odds of the value, or to the number that is predicted; those of a label hold near this text. They say what the model does, not what a word means: it depends on the words around it.",
  ],
  [
    "influence",
    "What a training row did by being there: the loss with it, minus the loss without it. Above 0 it did harm.",
  ],
  [
    "95 % interval",
    "What the score may well be on other texts like these. Scores with intervals that overlap widely are hardly different.",
  ],
  [
    "macro F1",
    "How well each label is found, on average; rare labels count as much as common ones.",
  ],
];
