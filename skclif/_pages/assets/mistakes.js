// One mistake, explained to the end: text, stage, activations, what if, rows behind it.

function mistakeItem(one) {
  return [
    h(
      "div",
      { class: "line" },
      h("strong", {}, bdi(one.id)),
      h("span", { class: "num", text: percent(pOf(one, one.label)) }),
    ),
    h(
      "div",
      { class: "line change" },
      h(
        "span",
        {},
        h("span", { class: "muted" }, "true "),
        bdi(one.label),
        h("span", { class: "muted" }, " · said "),
        h("b", {}, bdi(one.predicted)),
      ),
    ),
    h("div", { class: "snippet", dir: "auto", text: snippet(one) }),
  ];
}

function pOf(one, label) {
  return one.probabilities[DATA.classes.indexOf(label)];
}

function misreadConcepts(one) {
  return DATA.concepts
    .filter((_, j) => one.read[j].instead !== null)
    .map((concept) => concept.name);
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
    measure: "probability of the true label",
    item: mistakeItem,
    detail: mistakeDetail,
    filters: [
      {
        name: "search",
        words: "Search text or id",
        search: true,
        of: (one) => [one.id, one.text],
      },
      {
        name: "label",
        words: "True label",
        of: (one) => one.label,
        values: DATA.classes,
      },
      {
        name: "predicted",
        words: "Predicted",
        of: (one) => one.predicted,
        values: DATA.classes,
      },
      {
        name: "failed",
        words: "What failed",
        of: (one) => one.failed,
        values: failures.filter((name) => items.some((one) => one.failed === name)),
      },
      {
        name: "concept",
        words: "Misread concept",
        of: misreadConcepts,
        values: inPlace(distinct(items, misreadConcepts)),
      },
      {
        name: "path",
        words: "Harmed most through",
        of: mainPath,
        values: inPlace(distinct(items, mainPath)),
      },
      {
        name: "group",
        words: "Group",
        of: (one) => one.group,
        values: inOrder(DATA.groups),
      },
      {
        name: "p",
        words: "Probability of the prediction",
        slider: true,
        all: 0,
        say: (limit) => (limit ? `≥ ${limit} %` : "any"),
        passes: (one, limit) => pOf(one, one.predicted) >= limit,
      },
    ],
    orders: [
      { name: "loss", words: "worst first" },
      { name: "sure", words: "most sure first", by: (one) => -pOf(one, one.predicted) },
      {
        name: "close",
        words: "closest call first",
        by: (one) => pOf(one, one.predicted) - pOf(one, one.label),
      },
      { name: "row", words: "id", by: (one) => one.id },
    ],
  });
}

function mistakeDetail(one) {
  return [
    h("header", {}, h("h3", {}, bdi(one.id)), facts(one)),
    passage(one, "passage", one.marks),
    unmarked(one, DATA.mistakes.rows),
    one.failed
      ? h(
          "p",
          { class: "callout" },
          h("strong", { text: "What failed. " }),
          DATA.failures[one.failed],
        )
      : null,
    HEAD
      ? workbench(one)
      : h(
          "section",
          {},
          h("h4", { text: "What the model says" }),
          probabilityBars(one, one.probabilities, one.probabilities),
        ),
    h(
      "section",
      { class: "behind" },
      h("h4", { text: "The training rows behind it" }),
      behindMistake(one),
    ),
  ];
}

function facts(one) {
  const fact = (name, ...what) =>
    h("div", {}, h("dt", { text: name }), h("dd", {}, what));
  return h(
    "dl",
    { class: "facts" },
    fact("True label", h("strong", {}, bdi(one.label))),
    fact("Predicted", h("strong", { class: "wrong" }, bdi(one.predicted))),
    one.box !== null
      ? fact(
          "The black box says",
          bdi(one.box),
          one.box === one.label ? " (right)" : "",
        )
      : null,
    one.group !== null ? fact("Group", bdi(one.group)) : null,
  );
}

function behindMistake(one) {
  if (!one.traced)
    return h("p", {
      class: "muted",
      text: `This mistake was not traced to training rows; ${DATA.folder ? "--max-mistakes of skclif audit" : "max_mistakes"} traces more.`,
    });
  const p = pOf(one, one.label);
  const words = ([, influence]) => {
    const [before, after] = fromTo(p, Math.min(1, p * Math.exp(influence)));
    return [
      "Probability of the true label ",
      h("strong", { text: before }),
      " → ",
      h("strong", { text: after }),
      " without this row",
    ];
  };
  return [
    h("p", {
      class: "muted small",
      text: "These rows moved this prediction most, in either direction. A row that made it worse need not be wrong: read it before you change it. Bars show through which annotation or label; to the right is worse.",
    }),
    behindColumns(one.behind, words, "No row."),
  ];
}
