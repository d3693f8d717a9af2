// Training rows behind a prediction: what each did, in words, and by path.

const LEAST_SHARE = 0.05; // of the paths of a row, for a path to be drawn

function pathWords(path, row) {
  if (path === "label") return ["its label ", bdi(row.label)];
  if (path === "interaction") return ["label and annotations together"];
  const value = row.annotated[DATA.concepts.findIndex((one) => one.name === path)];
  return [bdi(path), " = ", value === null ? "not annotated" : bdi(value)];
}

// The paths that are drawn, the largest first, each with its influence.
function drawnPaths(parts) {
  const whole = parts.reduce((sum, value) => sum + Math.abs(value), 0);
  return DATA.paths
    .map((path, k) => [path, parts[k]])
    .filter(([, value]) => Math.abs(value) >= LEAST_SHARE * whole && value !== 0)
    .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
}

// What people annotated besides, if anything.
function otherAnnotations(drawn, row) {
  const shown = drawn.map(([path]) => path);
  const others = DATA.concepts
    .map((concept, j) => [concept.name, row.annotated[j]])
    .filter(([name, value]) => value !== null && !shown.includes(name));
  return others.length
    ? h(
        "p",
        { class: "muted small" },
        "also annotated: ",
        others.map(([name, value], k) => [
          k ? ", " : null,
          bdi(name),
          " = ",
          bdi(value),
        ]),
      )
    : null;
}

// Bars of the paths, to the right what harms, to the left what helps.
function pathBars(drawn, row, scale) {
  return h(
    "ul",
    { class: "paths" },
    drawn.map(([path, value]) =>
      h(
        "li",
        { title: `${signed(value)} nats` },
        h("span", { class: "what" }, pathWords(path, row)),
        h(
          "span",
          { class: "diverging", "aria-hidden": "true" },
          h("span", {
            class: `bar ${value > 0 ? "harm" : "help"}`,
            share: Math.abs(value) / scale / 2,
          }),
        ),
        hidden(value > 0 ? "harms" : "helps"),
      ),
    ),
  );
}

// One training row; `words` says what it did.
function behindCard([place, influence, ...parts], words, scale) {
  const row = TRAINING[place];
  const drawn = drawnPaths(parts);
  return h(
    "li",
    { class: "card" },
    h(
      "div",
      { class: "who" },
      h("strong", {}, bdi(row.id)),
      " ",
      h("span", { class: "chip" }, "label ", bdi(row.label)),
      row.group !== null
        ? [" ", h("span", { class: "chip" }, "group ", bdi(row.group))]
        : null,
      row.planted
        ? [" ", h("span", { class: "chip note" }, "planted error: ", bdi(row.planted))]
        : null,
    ),
    passage(row, "passage small"),
    h(
      "p",
      {
        class: "effect",
        title: `influence ${signed(influence)} nats on the log-loss; positive = harmful`,
      },
      words,
    ),
    pathBars(drawn, row, scale),
    otherAnnotations(drawn, row),
  );
}

function largestPath(lines) {
  return Math.max(1e-12, ...lines.flatMap(([, , ...parts]) => parts.map(Math.abs)));
}

// What harmed and what helped, side by side.
function behindColumns(lines, words, nothing) {
  const scale = largestPath(lines);
  const column = (title, ofThem) =>
    h(
      "section",
      {},
      h("h4", { text: title }),
      ofThem.length
        ? h(
            "ol",
            { class: "cards" },
            ofThem.map((line) => behindCard(line, words(line), scale)),
          )
        : h("p", { class: "muted", text: nothing }),
    );
  const harmful = lines.filter((line) => line[1] > 0);
  const helpful = lines.filter((line) => line[1] < 0).reverse();
  return h(
    "div",
    { class: "pair" },
    column("They made it worse", harmful),
    column("They made it better", helpful),
  );
}
