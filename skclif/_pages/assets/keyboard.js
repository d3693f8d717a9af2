// Single keys for everything that is done often. They can be turned off.

const KEYS = [
  ["j", "next"],
  ["k", "previous"],
  ["a", "accept the proposed value"],
  ["r", "reject: the value stays"],
  ["e", "edit: choose another value; Enter takes it and goes on"],
  ["s", "skip"],
  ["u", "undo the last decision"],
  ["/", "search"],
  ["?", "this help: keys and words"],
];
let keysOn = true;
let dialog = null;

function showHelp() {
  if (!dialog) {
    const on = h("input", {
      type: "checkbox",
      checked: true,
      on: {
        change: () => {
          keysOn = on.checked;
        },
      },
    });
    dialog = h(
      "dialog",
      { "aria-labelledby": "help" },
      h("h2", { id: "help", text: "Keys" }),
      h(
        "dl",
        { class: "keys" },
        KEYS.map(([key, what]) => [
          h("dt", {}, h("kbd", { text: key })),
          h("dd", { text: what }),
        ]),
      ),
      h("p", {}, h("label", {}, on, " Single keys do something")),
      h("h2", { text: "Words" }),
      h(
        "dl",
        { class: "words" },
        GLOSSARY.map(([word, meaning]) => [
          h("dt", { text: word }),
          h("dd", { text: meaning }),
        ]),
      ),
      h(
        "p",
        { class: "buttons" },
        h(
          "button",
          { type: "button", class: "first", on: { click: () => dialog.close() } },
          "Close",
        ),
      ),
    );
    document.body.append(dialog);
  }
  if (!dialog.open) dialog.showModal();
}

function onKey(event, work) {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog?.open) return;
  const isTyping = event.target.matches(
    "input:not([type=range]):not([type=checkbox]), select, textarea",
  );
  if (isTyping) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!keysOn && event.key !== "?") return;
  // A list that is folded away is not acted on.
  const { view, queue } = work.view?.element.checkVisibility() === false ? {} : work;
  const acts = {
    "?": showHelp,
    j: () => view?.next(1),
    k: () => view?.next(-1),
    "/": () => view?.filters.search(),
    a: () => queue?.act("accept"),
    r: () => queue?.act("reject"),
    e: () => queue?.act("edit"),
    s: () => queue?.act("skip"),
    u: () => queue?.act("undo"),
  };
  if (Object.hasOwn(acts, event.key)) {
    event.preventDefault();
    acts[event.key]();
  }
}
