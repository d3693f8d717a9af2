// The label head again: probabilities with some concepts set to known values, as
// ConceptBottleneckClassifier.intervene gives them.

function probabilities(activations) {
  const scores = HEAD.coef.map((row) => dot(row, activations));
  const found = HEAD.ranks === null ? ofClasses(scores) : ofOrdered(scores[0]);
  const byClass = new Map(HEAD.classes.map((name, k) => [name, found[k]]));
  return DATA.classes.map((name) => byClass.get(name));
}

function ofClasses(scores) {
  const raised = scores.map((score, k) => score + HEAD.intercept[k]);
  const logits = raised.length === 1 ? [0, raised[0]] : raised;
  const top = Math.max(...logits);
  const weights = logits.map((value) => Math.exp(value - top));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

// Every intercept gives the log-odds of a label above one more of the ranks.
function ofOrdered(score) {
  const above = HEAD.intercept.map((value) => 1 / (1 + Math.exp(-value - score)));
  return HEAD.ranks.map(
    (rank) => (rank ? above[rank - 1] : 1) - (above[rank] === undefined ? 0 : above[rank]),
  );
}

function dot(a, b) {
  return a.reduce((sum, value, k) => sum + value * b[k], 0);
}

// Activations with known values (by place of the concept) in place of predictions.
function withValues(activations, known) {
  const result = [...activations];
  for (const [j, value] of known) {
    const [start, stop] = HEAD.columns[j];
    const values = HEAD.values[j];
    if (values === null) result[start] = Number(value);
    else if (values.length === 2) result[start] = values.indexOf(value);
    else
      for (let k = start; k < stop; k += 1)
        result[k] = values[k - start] === value ? 1 : 0;
  }
  return result;
}

// What every concept, what is not in the concepts if the model has that, and last the
// intercept add to the log-odds of one class over another. Where labels are ordered, it
// is those of a label on the side of one class over the other and what is behind it.
function contributions(activations, one, other) {
  const [weights, intercept] = HEAD.ranks === null ? between(one, other) : beyond(one, other);
  const columns = [...HEAD.columns];
  const [, used] = columns[columns.length - 1];
  if (activations.length > used) columns.push([used, activations.length]);
  const parts = columns.map(([start, stop]) =>
    dot(weights.slice(start, stop), activations.slice(start, stop)),
  );
  return [...parts, intercept];
}

function between(one, other) {
  const weights = (name) => {
    const k = HEAD.classes.indexOf(name);
    return HEAD.coef.length > 1
      ? [HEAD.coef[k], HEAD.intercept[k]]
      : k === 1
        ? [HEAD.coef[0], HEAD.intercept[0]]
        : [HEAD.coef[0].map(() => 0), 0];
  };
  const [a, a0] = weights(one),
    [b, b0] = weights(other);
  return [a.map((value, k) => value - b[k]), a0 - b0];
}

function beyond(one, other) {
  const [a, b] = [one, other].map((name) => HEAD.ranks[HEAD.classes.indexOf(name)]);
  if (a > b) return [HEAD.coef[0], HEAD.intercept[b]];
  return [HEAD.coef[0].map((value) => -value), -HEAD.intercept[b - 1]];
}

// The values of a concept with their activations; null for a number.
function readings(activations, j) {
  const values = HEAD.values[j];
  if (values === null) return null;
  const [start, stop] = HEAD.columns[j];
  const found = activations.slice(start, stop);
  const shares = values.length === 2 ? [1 - found[0], found[0]] : found;
  if (HEAD.bottleneck !== "logit") return values.map((value, k) => [value, shares[k]]);
  const logits = values.length === 2 ? [0, found[0]] : found;
  const top = Math.max(...logits);
  const weights = logits.map((value) => Math.exp(value - top));
  const sum = weights.reduce((a, b) => a + b, 0);
  return values.map((value, k) => [value, weights[k] / sum]);
}
