// A line of a queue: its state, what it would change, and how it looks in the list.

const STATES = {
  "": ["·", "undecided"],
  accept: ["✓", "accepted"],
  edit: ["✎", "accepted with another value"],
  reject: ["✗", "rejected"],
  skip: ["↷", "skipped"],
};

function stateOf(line) {
  const own = decided(line);
  return own.decision === "accept" && own.proposed !== null ? "edit" : own.decision;
}

function isAsked(line) {
  return line.kind === "annotate" && line.current === null;
}

// Whether prompts made what is there, and a person is asked whether it is right.
function isMade(line) {
  return line.kind === "annotate" && line.proposed !== null && line.proposed === line.current;
}

function changeWords(line) {
  if (line.kind === "drop") return ["leave the row out"];
  const what =
    line.kind === "annotate"
      ? bdi(line.path)
      : line.kind === "relabel"
        ? "label"
        : "weight";
  const own = decided(line).proposed;
  const to = own !== null && stateOf(line) === "edit" ? nameOf(line, own) : null;
  if (isAsked(line))
    return to === null ? [what, " is missing"] : [what, " = ", h("b", {}, bdi(to))];
  if (isMade(line)) return [what, ": ", h("b", {}, bdi(to ?? line.current))];
  return [what, ": ", bdi(line.current), " → ", h("b", {}, bdi(to ?? line.proposed))];
}

// What is odd about an amount that somebody chose; as in _audit/amounts.py.
function farWords(line) {
  const concept = DATA.concepts.find((one) => one.name === line.path);
  const own = decided(line).proposed;
  if (line.kind !== "annotate" || !concept?.range || own === null) return null;
  const [low, high] = concept.range,
    value = Number(own);
  if (Number.isNaN(value) || (2 * low - high <= value && value <= 2 * high - low))
    return null;
  return `${own} is far outside what people annotated, ${low} to ${high}. Is it meant?`;
}

// The value of now, as a file names it.
function currentWritten(line) {
  const found = choicesOf(line)?.find((pair) => pair[0] === line.current);
  return found ? found[1] : line.current;
}

// A value in words, as a file names it.
function nameOf(line, written) {
  const choices = choicesOf(line) ?? [["", UNANNOTATED]];
  const found = choices.find((pair) => pair[1] === written);
  return found ? found[0] || "no annotation" : written;
}

function score(line) {
  if (line.effect !== null)
    return [
      h("span", {
        class: "num",
        title:
          "effect on the mean log-loss of the held-out texts, nats; negative = good",
        text: signed(line.effect, 2),
      }),
    ];
  if (line.p === null)
    return (line.confidence ?? null) === null
      ? []
      : [
          h("span", {
            class: "num",
            title: "how sure the prompts are",
            text: percent(line.confidence, 0),
          }),
        ];
  return [
    h("span", {
      class: "num",
      title: "probability of being wrong",
      text: percent(line.p, 0),
    }),
  ];
}

function lineItem(line) {
  const state = stateOf(line);
  return [
    h(
      "div",
      { class: "line" },
      h(
        "span",
        {},
        h("span", {
          class: `state ${state}`,
          "aria-hidden": "true",
          text: STATES[state][0],
        }),
        hidden(STATES[state][1]),
        " ",
        h("strong", {}, bdi(line.id)),
      ),
      score(line),
    ),
    h("div", { class: "line change" }, h("span", {}, changeWords(line))),
    h("div", { class: "snippet", dir: "auto", text: snippet(TRAINING[line.row]) }),
  ];
}

const KINDS = {
  relabel: "another label",
  annotate: "another annotation",
  reweight: "another weight",
  drop: "leave out",
};

function stateInWords(line) {
  return STATES[decided(line).decision][1];
}
