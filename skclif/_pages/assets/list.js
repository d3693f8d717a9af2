// A list of any length, of which only what is in sight has elements.

const HEIGHT = 92,
  SPARE = 4; // of an item in pixels, as in the style; items out of sight

class List {
  constructor(name, make, choose) {
    this.items = [];
    this.place = -1;
    this.make = make;
    this.choose = choose;
    this.name = name;
    this.inner = h("div", { class: "inner", role: "presentation" });
    this.box = h(
      "div",
      {
        class: "list",
        role: "listbox",
        tabindex: "0",
        "aria-label": name,
        on: {
          scroll: () => this.draw(),
          keydown: (event) => this.key(event),
        },
      },
      this.inner,
    );
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  show(items, place) {
    this.items = items;
    this.inner.style.height = `${items.length * HEIGHT}px`;
    this.select(Math.min(place, items.length - 1), false);
  }

  // Mark an item, bring it into sight, and say so unless it is not new.
  select(place, isNews = true) {
    this.place = place;
    if (place >= 0 && this.box.clientHeight) {
      const top = place * HEIGHT,
        { scrollTop, clientHeight } = this.box;
      if (top < scrollTop) this.box.scrollTop = top;
      else if (top + HEIGHT > scrollTop + clientHeight)
        this.box.scrollTop = top + HEIGHT - clientHeight;
    }
    this.draw();
    if (isNews && place >= 0) this.choose(this.items[place]);
  }

  move(step) {
    if (!this.items.length) return;
    const place = Math.max(0, Math.min(this.items.length - 1, this.place + step));
    this.select(place);
  }

  key(event) {
    const steps = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: 8,
      PageUp: -8,
      Home: -1e9,
      End: 1e9,
    };
    if (event.key in steps) {
      event.preventDefault();
      this.move(steps[event.key]);
    } else if (event.key === "Enter") this.choose(this.items[this.place], true);
  }

  draw() {
    const { scrollTop, clientHeight } = this.box;
    const first = Math.max(0, Math.floor(scrollTop / HEIGHT) - SPARE);
    const last = Math.min(
      this.items.length,
      Math.ceil((scrollTop + clientHeight) / HEIGHT) + SPARE,
    );
    const elements = [];
    for (let place = first; place < last; place += 1) {
      const element = h(
        "div",
        {
          class: "item",
          role: "option",
          id: `${this.name}-${place}`.replaceAll(" ", "-"),
          "aria-selected": place === this.place ? "true" : "false",
          "aria-posinset": place + 1,
          "aria-setsize": this.items.length,
          on: {
            click: () => {
              this.select(place, false);
              this.choose(this.items[place], true);
            },
          },
        },
        this.make(this.items[place]),
      );
      element.style.top = `${place * HEIGHT}px`;
      elements.push(element);
    }
    fill(this.inner, elements);
    const isDrawn = this.place >= first && this.place < last;
    if (isDrawn)
      this.box.setAttribute(
        "aria-activedescendant",
        `${this.name}-${this.place}`.replaceAll(" ", "-"),
      );
    else this.box.removeAttribute("aria-activedescendant");
  }
}
