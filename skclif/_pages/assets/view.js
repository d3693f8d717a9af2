// A view of a list: filters above, items on the left, one of them in full on the right.

class View {
  constructor(
    name,
    { title, items, filters, orders, item, detail, tools = null, measure },
  ) {
    this.name = name;
    this.items = items;
    this.detail = detail;
    this.shown = null;
    this.filters = new Filters(filters, orders, () => this.filtered());
    this.list = new List(title, item, (one, isAsked) => this.open(one, isAsked));
    this.summary = h("span", { role: "status" });
    this.pane = h("article", {
      class: "pane",
      tabindex: "-1",
      "aria-label": "Details",
    });
    const back = h(
      "button",
      { type: "button", class: "back", on: { click: () => this.showList() } },
      "← Back to the list",
    );
    this.element = h(
      "div",
      { class: "work" },
      this.filters.element,
      tools,
      h(
        "div",
        { class: "split" },
        h(
          "div",
          { class: "side" },
          h(
            "p",
            { class: "found" },
            this.summary,
            h("span", { class: "right", text: measure }),
          ),
          this.list.box,
        ),
        h("div", { class: "main" }, back, this.pane),
      ),
    );
  }

  // Show what an address asks for.
  visit(parameters) {
    this.filters.set(parameters);
    this.refresh(parameters.get("id"));
  }

  filtered() {
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => {
      this.list.box.scrollTop = 0;
      this.refresh(null);
      this.remember();
    });
  }

  // Show the items that pass the filters, and one of them.
  refresh(id) {
    const kept = this.filters.apply(this.items);
    let place = kept.findIndex((one) => one.ref === id);
    const isAsked = id !== null && place >= 0;
    if (place < 0) place = kept.indexOf(this.shown);
    if (place < 0) place = kept.length ? 0 : -1;
    this.summary.textContent =
      kept.length === this.items.length
        ? `${count(kept.length)} listed`
        : `${count(kept.length)} of ${count(this.items.length)} listed`;
    this.filters.say();
    this.list.show(kept, place);
    if (place >= 0) this.open(kept[place], isAsked, false);
    else {
      this.shown = null;
      fill(
        this.pane,
        h("p", { class: "muted", text: "Nothing passes these filters." }),
      );
    }
  }

  open(one, isAsked = false, isNews = true) {
    this.shown = one;
    fill(this.pane, this.detail(one));
    if (isAsked) {
      this.element.classList.add("opened");
      if (isNews && window.matchMedia("(max-width: 60rem)").matches) this.pane.focus();
    }
    if (isNews) this.remember();
  }

  showList() {
    this.element.classList.remove("opened");
    this.list.box.focus();
  }

  // Keep filters and item in the address, without a step in the history each.
  remember() {
    const parameters = this.filters.parameters();
    if (this.shown && this.shown !== this.list.items[0])
      parameters.set("id", this.shown.ref);
    const query = parameters.toString();
    setHash(`#${this.name}${query ? `?${query}` : ""}`);
  }

  // Show an item, if it passes the filters; returns whether it does.
  goTo(one) {
    const place = this.list.items.indexOf(one);
    if (place >= 0) this.list.select(place);
    return place >= 0;
  }

  next(step) {
    this.list.move(step);
  }

  // Draw what is shown again, because something was decided.
  redraw() {
    this.list.draw();
    if (this.shown) fill(this.pane, this.detail(this.shown));
  }
}
