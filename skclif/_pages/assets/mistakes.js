// One mistake, explained to the end: text, stage, activations, what if, rows behind it.

function mistakeItem(one) {
  return [
    h("div", { class: "line" }, h("strong", {}, bdi(one.id)), h("span", { class: "num", text: percent(pOf(one, one.label)) })),
    h("div", { class: "line change" }, h("span", {}, h("span", { class: "muted" }, "true "), bdi(one.label), h("span", { class: "muted" }, " · said "), h("b", {}, bdi(one.predicted)))),
    h("div", { class: "snippet", dir: "auto", text: snippet(one) }),
  ];
}

function pOf(one, label) {
  return one.probabilities[DATA.classes.indexOf(label)];
}

function misreadConcepts(one) {
  return DATA.concepts.filter((_, j) => one.read[j].instead !== null).map((concept) => concept.name);
}

// The path through which a mistake was harmed most.
function mainPath(one) {
  if (!one.behind.length || one.behind[0][1] <= 0) return null;
  const parts = one.behind[0].slice(2);
  return DATA.paths[parts.indexOf(Math.max(...parts))];
}

function mistakesView() {
  const items = DATA.mistakes.rows;
  const failures = Object.keys(DATA.failures);
  return new View("mistakes", {
    title: "Mistakes",
    items,
    measure: "p of the true label",
    empty: "No held-out text is predicted wrongly.",
    item: mistakeItem,
    detail: mistakeDetail,
    filters: [
      { name: "search", words: "Search text or id", search: true, of: (one) => [one.id, one.text] },
      { name: "label", words: "True label", of: (one) => one.label, values: DATA.classes },
      { name: "predicted", words: "Predicted", of: (one) => one.predicted, values: DATA.classes },
      { name: "failed", words: "What failed", of: (one) => one.failed, values: failures.filter((name) => items.some((one) => one.failed === name)) },
      { name: "concept", words: "Misread concept", of: misreadConcepts, values: distinct(items, misreadConcepts) },
      { name: "path", words: "Harmed most through", of: mainPath, values: distinct(items, mainPath) },
      { name: "group", words: "Group", of: (one) => one.group, values: DATA.groups },
      { name: "p", words: "Probability of the prediction", slider: true, all: 0, say: (limit) => (limit ? `≥ ${limit} %` : "any"), passes: (one, limit) => pOf(one, one.predicted) >= limit },
    ],
    orders: [
      { name: "loss", words: "worst first" },
      { name: "sure", words: "most sure first", by: (one) => -pOf(one, one.predicted) },
      { name: "close", words: "closest call first", by: (one) => pOf(one, one.predicted) - pOf(one, one.label) },
      { name: "row", words: "id", by: (one) => one.id },
    ],
  });
}

function mistakeDetail(one) {
  return [
    h("header", {}, h("h3", {}, bdi(one.id)), facts(one)),
    passage(one),
    one.failed ? h("p", { class: "callout" }, h("strong", { text: "What failed. " }), DATA.failures[one.failed]) : null,
    HEAD ? workbench(one) : h("section", {}, h("h4", { text: "What the model says" }), probabilityBars(one, one.probabilities, one.probabilities)),
    h("section", { class: "behind" }, h("h4", { text: "The training rows behind it" }), behindMistake(one)),
  ];
}

function facts(one) {
  const fact = (name, ...what) => h("div", {}, h("dt", { text: name }), h("dd", {}, what));
  return h("dl", { class: "facts" },
    fact("True label", h("strong", {}, bdi(one.label))),
    fact("Predicted", h("strong", { class: "wrong" }, bdi(one.predicted))),
    one.box !== null ? fact("The black box says", bdi(one.box), one.box === one.label ? " (right)" : "") : null,
    one.group !== null ? fact("Group", bdi(one.group)) : null);
}

function behindMistake(one) {
  if (!one.traced) return h("p", { class: "muted", text: "This mistake was not traced to training rows; --max-mistakes of skclif audit traces more." });
  const p = pOf(one, one.label);
  const words = ([, influence]) => {
    const [before, after] = fromTo(p, Math.min(1, p * Math.exp(influence)));
    return ["Probability of the true label ", h("strong", { text: before }), " → ", h("strong", { text: after }), " without this row"];
  };
  return [
    h("p", { class: "muted small", text: "These rows moved this prediction most, in either direction. A row that made it worse need not be wrong: read it before you change it. Bars show through which annotation or label; to the right is worse." }),
    behindColumns(one.behind, words, "No row."),
  ];
}

// --- Trying other values --------------------------------------------------------------

function workbench(one) {
  const known = new Map();
  const bars = h("div", { role: "group", "aria-label": "Probability of each label" });
  const parts = h("div", {});
  const said = h("p", { class: "said", role: "status" });
  const inputs = [];
  const update = () => {
    const activations = withValues(one.activations, known);
    const now = probabilities(activations);
    const says = DATA.classes[now.indexOf(Math.max(...now))];
    fill(bars, probabilityBars(one, now, one.probabilities));
    fill(parts, contributionBars(one, activations));
    fill(said, known.size ? ["With these values the model says ", h("strong", {}, bdi(says)), says === one.label ? " – the true label." : "."] : ["The model says ", h("strong", {}, bdi(says)), "."]);
  };
  const set = (values) => {
    for (const [j, input] of inputs.entries()) {
      const value = values[j] ?? null;
      input.value = value ?? "";
      if (value === null) known.delete(j); else known.set(j, value);
    }
    update();
  };
  const rows = DATA.concepts.map((concept, j) => conceptRow(one, concept, j, (value) => {
    if (value === "") known.delete(j); else known.set(j, value);
    update();
  }, inputs));
  update();
  const isLogit = HEAD.bottleneck === "logit";
  return h("div", { class: "bench" },
    h("section", {}, h("h4", { text: "What it read in the text" }),
      h("p", { class: "muted small", text: isLogit ? "This bottleneck passes on logits: a known value has none, so values cannot be set here." : "Choose another value and see what the model would say." }),
      h("div", { class: "concepts" }, rows),
      isLogit ? null : h("p", { class: "buttons" },
        h("button", { type: "button", on: { click: () => set(DATA.concepts.map((_, j) => knownValue(one, j))) } }, "As people read it"),
        h("button", { type: "button", class: "quiet", on: { click: () => set([]) } }, "As predicted"))),
    h("section", {}, h("h4", { text: "What it makes of it" }), said, bars,
      h("h4", {}, "Why ", bdi(one.predicted), " and not ", bdi(one.label)), parts));
}

// What people annotated, if the model knows the value.
function knownValue(one, j) {
  const value = one.read[j].annotated;
  const values = HEAD.values[j];
  return value !== null && (values === null || values.includes(value)) ? value : null;
}

function conceptRow(one, concept, j, changed, inputs) {
  const { annotated, predicted, instead } = one.read[j];
  const found = readings(one.activations, j);
  const isLogit = HEAD.bottleneck === "logit";
  const name = `Value of ${concept.name}`;
  let input;
  if (found === null) {
    const entered = () => { if (input.checkValidity()) changed(input.value); };
    input = h("input", { type: "number", step: "any", placeholder: predicted, "aria-label": name, disabled: isLogit, on: { input: entered } });
  } else {
    const values = concept.values.slice(0, -1).map(([value]) => value);
    input = h("select", { "aria-label": name, disabled: isLogit, on: { change: () => changed(input.value) } },
      option("", `as predicted (${predicted})`), values.map((value) => option(value, value)));
  }
  inputs.push(input);
  const top = found === null ? [] : [...found].sort((a, b) => b[1] - a[1]).filter(([value], k) => k < 4 || value === annotated);
  return h("div", { class: "concept" },
    h("div", { class: "line" }, h("strong", {}, bdi(concept.name)), input),
    found === null
      ? h("p", { class: "small" }, "predicted ", bdi(predicted), annotated !== null ? [" · people read ", bdi(annotated)] : null)
      : h("ul", { class: "bars" }, top.map(([value, share]) => bar(
        [bdi(value), value === annotated ? h("span", { class: "chip", text: "people read" }) : null], share, percent(share, 0), value === annotated ? "known" : ""))),
    annotated === null ? h("p", { class: "muted small", text: "not annotated" }) : null,
    instead !== null ? h("p", { class: "small" }, "Misread: with this alone corrected, the label is ", h("strong", {}, bdi(instead)), instead === one.label ? " – right." : ".") : null);
}

function bar(what, share, words, className = "", before = null) {
  return h("li", { class: className }, h("span", { class: "what" }, what),
    h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "bar", share }), before !== null ? h("span", { class: "tick", at: before }) : null),
    h("span", { class: "num", "data-value": share, text: words }));
}

function probabilityBars(one, now, before) {
  return h("ul", { class: "bars wide" }, DATA.classes.map((name, k) => bar(
    [bdi(name), name === one.label ? h("span", { class: "chip", text: "true" }) : null], now[k], percent(now[k]), name === one.label ? "known" : "", before[k])));
}

// What pushes to the predicted label, and what to the true one, in log-odds.
function contributionBars(one, activations) {
  const found = contributions(activations, one.predicted, one.label);
  const scale = Math.max(1e-12, ...found.map(Math.abs));
  const names = [...DATA.concepts.map((concept) => bdi(concept.name)), h("span", { text: "whatever the text" })];
  return [
    h("p", { class: "muted small axis" }, h("span", {}, "← towards ", bdi(one.label)), h("span", {}, "towards ", bdi(one.predicted), " →")),
    h("ul", { class: "paths" }, found.map((value, j) => h("li", { title: `${signed(value)} log-odds of ${one.predicted} over ${one.label}` },
      h("span", { class: "what" }, names[j]),
      h("span", { class: "diverging", "aria-hidden": "true" }, h("span", { class: `bar ${value > 0 ? "harm" : "help"}`, share: Math.abs(value) / scale / 2 })),
      h("span", { class: "unseen", "data-value": value, text: value > 0 ? `towards ${one.predicted}` : `towards ${one.label}` })))),
  ];
}
