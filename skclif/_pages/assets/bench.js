// Trying other values: what the model read, what it makes of it, and why.

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
    fill(
      said,
      known.size
        ? [
            "With these values the model says ",
            h("strong", {}, bdi(says)),
            says === one.label ? " – the true label." : ".",
          ]
        : ["The model says ", h("strong", {}, bdi(says)), "."],
    );
  };
  const set = (values) => {
    for (const [j, input] of inputs.entries()) {
      const value = values[j] ?? null;
      input.value = value ?? "";
      if (value === null) known.delete(j);
      else known.set(j, value);
    }
    update();
  };
  const rows = DATA.concepts.map((concept, j) =>
    conceptRow(
      one,
      concept,
      j,
      (value) => {
        if (value === "") known.delete(j);
        else known.set(j, value);
        update();
      },
      inputs,
    ),
  );
  update();
  const isLogit = HEAD.bottleneck === "logit";
  const read = DATA.concepts.map((_, j) => knownValue(one, j));
  return h(
    "div",
    { class: "bench" },
    h(
      "section",
      {},
      h("h4", { text: "What it read in the text" }),
      h("p", {
        class: "muted small",
        text: isLogit
          ? "This model passes on scores (logits) in place of probabilities. A value that people know has no such score, so none can be set here."
          : "Choose another value and see what the model would say.",
      }),
      h("div", { class: "concepts" }, rows),
      isLogit
        ? null
        : h(
            "p",
            { class: "buttons" },
            read.some((value) => value !== null)
              ? h(
                  "button",
                  { type: "button", on: { click: () => set(read) } },
                  "As people read it",
                )
              : null,
            h(
              "button",
              { type: "button", class: "quiet", on: { click: () => set([]) } },
              "As predicted",
            ),
          ),
    ),
    h(
      "section",
      {},
      h("h4", { text: "What it makes of it" }),
      said,
      bars,
      h("h4", {}, "Why ", bdi(one.predicted), " and not ", bdi(one.label)),
      parts,
    ),
  );
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
    input = numberField(
      { placeholder: predicted, "aria-label": name, disabled: isLogit, event: "input" },
      changed,
    );
  } else {
    const values = concept.values.slice(0, -1).map(([value]) => value);
    input = h(
      "select",
      {
        "aria-label": name,
        disabled: isLogit,
        on: { change: () => changed(input.value) },
      },
      option("", `as predicted (${predicted})`),
      values.map((value) => option(value, value)),
    );
  }
  inputs.push(input);
  const top =
    found === null
      ? []
      : [...found]
          .sort((a, b) => b[1] - a[1])
          .filter(([value], k) => k < 4 || value === annotated);
  return h(
    "div",
    { class: "concept" },
    h("div", { class: "line" }, h("strong", {}, bdi(concept.name)), input),
    found === null
      ? h(
          "p",
          { class: "small" },
          "predicted ",
          bdi(predicted),
          annotated !== null ? [" · people read ", bdi(annotated)] : null,
        )
      : h(
          "ul",
          { class: "bars" },
          top.map(([value, share]) =>
            bar(
              [
                bdi(value),
                value === annotated
                  ? [" ", h("span", { class: "chip", text: "people read" })]
                  : null,
              ],
              share,
              percent(share, 0),
              value === annotated ? "known" : "",
            ),
          ),
        ),
    annotated === null ? h("p", { class: "muted small", text: "not annotated" }) : null,
    instead !== null
      ? h(
          "p",
          { class: "small" },
          "Misread: with this alone corrected, the label is ",
          h("strong", {}, bdi(instead)),
          instead === one.label ? " – right." : ".",
        )
      : null,
  );
}

function bar(what, share, words, className = "", before = null) {
  return h(
    "li",
    { class: className },
    h("span", { class: "what" }, what),
    h(
      "span",
      { class: "track", "aria-hidden": "true" },
      h("span", { class: "bar", share }),
      before !== null ? h("span", { class: "tick", at: before }) : null,
    ),
    h("span", { class: "num", "data-value": share, text: words }),
  );
}

function probabilityBars(one, now, before) {
  return h(
    "ul",
    { class: "bars wide" },
    DATA.classes.map((name, k) =>
      bar(
        [
          bdi(name),
          name === one.label
            ? [" ", h("span", { class: "chip", text: "true" })]
            : null,
        ],
        now[k],
        percent(now[k]),
        name === one.label ? "known" : "",
        before[k],
      ),
    ),
  );
}

// What pushes to the predicted label, and what to the true one, in log-odds.
function contributionBars(one, activations) {
  const found = contributions(activations, one.predicted, one.label);
  const scale = Math.max(1e-12, ...found.map(Math.abs));
  const about =
    HEAD.ranks === null
      ? `${one.predicted} over ${one.label}`
      : `a label on the side of ${one.predicted} over ${one.label} and the rest`;
  const names = [
    ...DATA.concepts.map((concept) => bdi(concept.name)),
    ...(found.length > DATA.concepts.length + 1
      ? [h("span", { text: "not in the concepts" })]
      : []),
    h("span", { text: "whatever the text" }),
  ];
  return [
    h(
      "p",
      { class: "muted small axis" },
      h("span", {}, "← towards ", bdi(one.label)),
      h("span", {}, "towards ", bdi(one.predicted), " →"),
    ),
    h(
      "ul",
      { class: "paths" },
      found.map((value, j) =>
        h(
          "li",
          { title: `${signed(value)} log-odds of ${about}` },
          h("span", { class: "what" }, names[j]),
          h(
            "span",
            { class: "diverging", "aria-hidden": "true" },
            h("span", {
              class: `bar ${value > 0 ? "harm" : "help"}`,
              share: Math.abs(value) / scale / 2,
            }),
          ),
          h("span", {
            class: "unseen",
            "data-value": value,
            text: value > 0 ? `towards ${one.predicted}` : `towards ${one.label}`,
          }),
        ),
      ),
    ),
  ];
}
