// Elements are made from tags, properties and children; text is only ever text.

function put(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, act] of Object.entries(value))
        element.addEventListener(event, act);
    } else if (name === "text") {
      element.textContent = value;
    } else if (name === "share") {
      element.style.width = `${Math.max(0, Math.min(1, value)) * 100}%`;
    } else if (name === "at") {
      element.style.insetInlineStart = `${Math.max(0, Math.min(1, value)) * 100}%`;
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(
    ...children
      .flat(9)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

function h(tag, properties, ...children) {
  return put(document.createElement(tag), properties, children);
}

function bdi(value) {
  return h("bdi", { text: value });
}

function hidden(words) {
  return h("span", { class: "unseen", text: words });
}

function fill(element, ...children) {
  element.replaceChildren(
    ...children
      .flat(9)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

let nFields = 0;

// A control with its name, which is not part of the name's text.
function field(words, input, className = "field") {
  nFields += 1;
  input.id = `field-${nFields}`;
  return h("div", { class: className }, h("label", { for: input.id }, words), input);
}

const WRITTEN_NUMBER = /^[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?$/i;

// A number as people write it, with a point or a comma; null for anything else.
function writtenNumber(text) {
  const word = text.trim();
  return WRITTEN_NUMBER.test(word) ? word.replace(",", ".") : null;
}

// A field for a number. Browsers drop the comma of 2,5 from a field of the type number.
function numberField(properties, entered, low = -Infinity, high = Infinity) {
  const { event = "change", ...rest } = properties;
  const check = () => {
    const isEmpty = input.value.trim() === "";
    const found = writtenNumber(input.value);
    const fits = found !== null && Number(found) >= low && Number(found) <= high;
    const range = low > -Infinity ? ` from ${low} to ${high}` : "";
    input.setCustomValidity(isEmpty || fits ? "" : `Write a number${range}, such as 2.5.`);
    if (isEmpty || fits) entered(isEmpty ? "" : found);
    else if (event === "change") input.reportValidity();
  };
  const input = h("input", {
    type: "text",
    inputmode: "decimal",
    ...rest,
    on: { [event]: check },
  });
  return input;
}

function option(value, words, isChosen) {
  return h("option", { value, selected: isChosen, text: words });
}

// A text with marked spans [{start, end, concept}], which do not overlap.
function markedText(text, spans) {
  const pieces = [];
  let from = 0;
  for (const span of spans) {
    pieces.push(text.slice(from, span.start));
    pieces.push(
      h("mark", { title: span.concept, text: text.slice(span.start, span.end) }),
    );
    from = span.end;
  }
  pieces.push(text.slice(from));
  return pieces;
}

// The words that carry each concept. There are none yet.
function spansOf() {
  return [];
}

const LONG = 900,
  FOLD = 600;

function passage(row, className = "passage") {
  if (row.text === null) {
    return h(
      "p",
      { class: "muted" },
      DATA.folder
        ? "Text withheld; its hash is "
        : "No text: the model was given features. Their hash is ",
      h("code", { text: row.hash }),
      ".",
    );
  }
  const block = h("blockquote", { class: className, dir: "auto" });
  const cut = row.length
    ? h("p", {
        class: "muted small",
        text: `The first ${count(row.text.length)} of ${count(row.length)} characters; the tables have all of them.`,
      })
    : null;
  const whole = () => fill(block, markedText(row.text, spansOf(row)));
  if (row.text.length <= LONG) {
    whole();
    return [block, cut];
  }
  const space = row.text.lastIndexOf(" ", FOLD);
  const more = h(
    "button",
    {
      type: "button",
      class: "quiet",
      on: {
        click: () => {
          whole();
          block.tabIndex = -1;
          block.focus();
        },
      },
    },
    "Read on",
  );
  fill(
    block,
    markedText(row.text.slice(0, space > FOLD / 2 ? space : FOLD), spansOf(row)),
    "… ",
    more,
  );
  return [block, cut];
}
