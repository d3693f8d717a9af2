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

