// Filters over a list: choices, a slider, a search and an order, kept in the address.

// A filter is {name, words, of, values} (a choice), {name, words, of, slider: true} or
// {name, words, search: true}; `of` returns the value, or values, of an item.
class Filters {
  constructor(filters, orders, changed) {
    this.filters = filters;
    this.orders = orders;
    this.inputs = new Map();
    const controls = filters
      .filter((one) => one.search || one.slider || one.values.length > 1)
      .map((one) => this.control(one, changed));
    const sort = h(
      "select",
      { on: { change: changed } },
      orders.map((one) => option(one.name, one.words)),
    );
    this.inputs.set("sort", sort);
    controls.push(field("Sort by", sort));
    this.element = h(
      "details",
      { class: "filters" },
      h("summary", { text: "Search, filter, sort" }),
      h(
        "div",
        { class: "fields", role: "group", "aria-label": "Search, filter, sort" },
        controls,
      ),
    );
    this.element.open = window.matchMedia("(min-width: 60rem)").matches;
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
    return field(words, input);
  }

  // Take the filters from an address.
  set(parameters) {
    for (const one of this.filters) {
      const input = this.inputs.get(one.name);
      if (!input) continue;
      input.value = parameters.get(one.name) ?? (one.slider ? one.all : "");
      if (one.slider) input.said.textContent = one.say(Number(input.value));
    }
    const sort = this.inputs.get("sort");
    sort.value = parameters.get("sort") ?? this.orders[0].name;
    if (sort.selectedIndex < 0) sort.selectedIndex = 0;
  }

  search() {
    this.element.open = true;
    this.inputs.get("search").focus();
  }

  clear() {
    this.set(new URLSearchParams());
  }

  parameters() {
    const found = new URLSearchParams();
    for (const one of this.filters) {
      const value = this.inputs.get(one.name)?.value ?? "";
      if (value !== "" && !(one.slider && Number(value) === one.all))
        found.set(one.name, value);
    }
    const sort = this.inputs.get("sort").value;
    if (sort !== this.orders[0].name) found.set("sort", sort);
    return found;
  }

  apply(items) {
    const tests = [];
    for (const one of this.filters) {
      const value = this.inputs.get(one.name)?.value ?? "";
      if (value === "") continue;
      if (one.search) {
        const words = value.toLowerCase();
        tests.push((item) =>
          one
            .of(item)
            .some((text) => text !== null && text.toLowerCase().includes(words)),
        );
      } else if (one.slider) {
        const limit = Number(value);
        if (limit !== one.all) tests.push((item) => one.passes(item, limit / 100));
      } else {
        tests.push((item) => [one.of(item)].flat().includes(value));
      }
    }
    const kept = items.filter((item) => tests.every((test) => test(item)));
    const order = this.orders.find((one) => one.name === this.inputs.get("sort").value);
    if (order.by) {
      const keys = new Map(kept.map((item) => [item, order.by(item)]));
      kept.sort((a, b) =>
        keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0,
      );
    }
    return kept;
  }
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
