// Filters over a list: choices, a slider, a search and an order, kept in the address.
// Search and order are in sight; the others open below them, and say that they are on.

// A filter is {name, words, of, values} (a choice), {name, words, of, slider: true} or
// {name, words, search: true}; `of` returns the value, or values, of an item.
class Filters {
  constructor(filters, orders, changed) {
    this.filters = filters.filter(
      (one) => one.search || one.slider || one.values.length > 1,
    );
    this.orders = orders;
    this.changed = changed;
    this.inputs = new Map();
    const controls = new Map(
      this.filters.map((one) => [one.name, this.control(one, changed)]),
    );
    const sort = h(
      "select",
      { on: { change: changed } },
      orders.map((one) => option(one.name, one.words)),
    );
    this.inputs.set("sort", sort);
    const search = controls.get("search");
    controls.delete("search");
    this.many = h("span", { class: "active" });
    this.more = h(
      "details",
      { class: "more" },
      h("summary", {}, "Filters", this.many),
      h(
        "div",
        { class: "fields", role: "group", "aria-label": "Filters" },
        [...controls.values()],
      ),
    );
    this.folds();
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "On" });
    this.element = h(
      "div",
      { class: "filters", role: "search", "aria-label": "Search, filter, sort" },
      search,
      this.more,
      field("Sort by", sort, "field beside"),
      this.chips,
    );
  }

  // Where they lie over the page, filters close when one goes on, or presses Escape.
  folds() {
    const close = () => {
      if (window.matchMedia("(min-width: 60rem)").matches) this.more.open = false;
    };
    this.more.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.more.open) return;
      event.stopPropagation();
      this.more.open = false;
      this.more.querySelector("summary").focus();
    });
    this.more.addEventListener("focusout", (event) => {
      const next = event.relatedTarget;
      if (next !== null && !this.more.contains(next)) close();
    });
    document.addEventListener("pointerdown", (event) => {
      if (!this.more.contains(event.target)) close();
    });
  }

  control(one, changed) {
    let input;
    const words = [one.words];
    if (one.search) {
      input = h("input", {
        type: "search",
        autocomplete: "off",
        spellcheck: "false",
        on: { input: changed },
      });
    } else if (one.slider) {
      const said = h("output", { text: one.say(one.all) });
      input = h("input", {
        type: "range",
        min: "0",
        max: "100",
        step: "1",
        value: one.all,
        on: {
          input: () => {
            said.textContent = one.say(Number(input.value));
            changed();
          },
        },
      });
      input.said = said;
      words.push(" ", said);
    } else {
      input = h(
        "select",
        { on: { change: changed } },
        option("", "any"),
        one.values.map((value) =>
          option(value, one.name_of ? one.name_of(value) : value),
        ),
      );
    }
    this.inputs.set(one.name, input);
    return field(words, input, one.search ? "field search" : "field");
  }

  // Take the filters from an address.
  set(parameters) {
    for (const one of this.filters) {
      const input = this.inputs.get(one.name);
      input.value = parameters.get(one.name) ?? (one.slider ? one.all : "");
      if (one.slider) input.said.textContent = one.say(Number(input.value));
    }
    const sort = this.inputs.get("sort");
    sort.value = parameters.get("sort") ?? this.orders[0].name;
    if (sort.selectedIndex < 0) sort.selectedIndex = 0;
    this.say();
  }

  // Name what is on, each with a way to turn it off.
  say() {
    const on = this.active().filter(([one]) => !one.search);
    this.many.textContent = on.length ? ` (${on.length} active)` : "";
    const chip = ([one, value]) => {
      const said = one.slider
        ? one.say(Number(value))
        : one.name_of
          ? one.name_of(value)
          : value;
      const turnOff = () => {
        this.inputs.get(one.name).value = one.slider ? one.all : "";
        if (one.slider) this.inputs.get(one.name).said.textContent = one.say(one.all);
        this.turnedOff();
      };
      return h(
        "button",
        { type: "button", class: "quiet chip", on: { click: turnOff } },
        hidden("Turn off "),
        `${one.words}: `,
        bdi(said),
        h("span", { "aria-hidden": "true", text: " ×" }),
      );
    };
    const clear = () => {
      this.set(new URLSearchParams());
      this.turnedOff();
    };
    const all = h(
      "button",
      { type: "button", class: "quiet small", on: { click: clear } },
      "Clear filters",
    );
    fill(this.chips, on.map(chip), this.active().length ? all : null);
  }

  // What turned a filter off is gone with it.
  turnedOff() {
    this.more.querySelector("summary").focus();
    this.changed();
  }

  search() {
    this.inputs.get("search").focus();
  }

  // The filters that leave something out, each with its value.
  active() {
    return this.filters
      .map((one) => [one, this.inputs.get(one.name).value])
      .filter(
        ([one, value]) => value !== "" && !(one.slider && Number(value) === one.all),
      );
  }

  parameters() {
    const found = new URLSearchParams();
    for (const [one, value] of this.active()) found.set(one.name, value);
    const sort = this.inputs.get("sort").value;
    if (sort !== this.orders[0].name) found.set("sort", sort);
    return found;
  }

  apply(items) {
    const tests = [];
    for (const [one, value] of this.active()) {
      if (one.search) {
        const words = value.toLowerCase();
        tests.push((item) =>
          one
            .of(item)
            .some((text) => text !== null && text.toLowerCase().includes(words)),
        );
      } else if (one.slider) {
        tests.push((item) => one.passes(item, Number(value) / 100));
      } else {
        tests.push((item) => [one.of(item)].flat().includes(value));
      }
    }
    const kept = items.filter((item) => tests.every((test) => test(item)));
    const order = this.orders.find((one) => one.name === this.inputs.get("sort").value);
    if (order.by) {
      const keys = new Map(kept.map((item) => [item, order.by(item)]));
      kept.sort((a, b) => compare(keys.get(a), keys.get(b)));
    }
    return kept;
  }
}

const letters = new Intl.Collator("en", { numeric: true });

// Numbers by size, and words by letters, with the numbers in them by size.
function compare(a, b) {
  return typeof a === "number" ? a - b : letters.compare(a, b);
}

// Values as people look for them: numbers by size, then words.
function inOrder(values) {
  const isNumber = (value) => value.trim() !== "" && Number.isFinite(Number(value));
  return [
    ...values.filter(isNumber).sort((a, b) => Number(a) - Number(b)),
    ...values.filter((value) => !isNumber(value)).sort(compare),
  ];
}

// What lines are about in the order of the model: the label, then the concepts.
function inPlace(paths) {
  const places = ["label", ...DATA.concepts.map((one) => one.name)];
  const place = (path) =>
    places.includes(path) ? places.indexOf(path) : places.length;
  return [...paths].sort((a, b) => place(a) - place(b));
}

// The distinct values of items, in order of appearance; unknown ones are left out.
function distinct(items, of) {
  return [
    ...new Set(
      items
        .flatMap((item) => [of(item)].flat())
        .filter((value) => value !== null && value !== undefined && value !== ""),
    ),
  ];
}
