// The views by address: #overview, #mistakes?label=3&predicted=5, …

const VIEWS = [
  "overview",
  "mistakes",
  "suspects",
  "suggestions",
  "machine",
  "held-out",
  "trail",
].filter((name) => document.getElementById(name));
const TITLES = {
  suspects: "What may be wrong",
  suggestions: "What would help",
  machine: "What prompts annotated",
  "held-out": "Texts to judge by",
};
const made = new Map(); // by name: {view, queue}, made when first visited

// Where nothing is listed, the heading says so, and there is nothing to do.
function make(name) {
  if (name === "mistakes" && DATA.mistakes.rows.length) return { view: mistakesView() };
  if (!DATA.queues[name]?.lines.length) return {};
  return of(new Queue(name, TITLES[name]));
}

function of(queue) {
  return { queue, view: queue.view };
}

function address() {
  const [name, query = ""] = shownHash().slice(1).split("?");
  return [
    VIEWS.includes(name) ? name : VIEWS[0],
    new URLSearchParams(query),
    VIEWS.includes(name) ? null : name,
  ];
}

let current = {};

function visit() {
  const [name, parameters, inside] = address();
  const place = inside ? document.getElementById(inside) : null;
  const shown = place?.closest(".view")?.id ?? name;
  for (const other of VIEWS) document.getElementById(other).hidden = other !== shown;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!made.has(shown)) {
    const work = make(shown);
    made.set(shown, work);
    if (work.view)
      document.getElementById(shown).querySelector(".app").append(work.view.element);
  }
  current = made.get(shown);
  current.view?.visit(parameters);
  if (place && place.id !== shown) place.scrollIntoView();
  else window.scrollTo(0, 0);
}

document.documentElement.classList.add("scripted");
for (const link of document.querySelectorAll("a[data-filter]"))
  link.hash = `${link.hash}?${link.dataset.filter}`;
for (const one of DATA.mistakes.rows) one.ref = one.id;
for (const [name, queue] of Object.entries(DATA.queues)) {
  for (const line of queue.lines) {
    line.queue = name;
    line.ref = `${line.id} ${line.kind} ${line.path}`;
  }
}
for (const button of document.querySelectorAll("[data-help]")) {
  button.hidden = false;
  button.addEventListener("click", showHelp);
}
restore();
document.addEventListener("keydown", (event) => onKey(event, current));
window.addEventListener("hashchange", visit);
document.addEventListener("click", (event) => {
  const link = FRAMED && event.target.closest("a[href]");
  if (!link || link.download || !link.hash) return;
  event.preventDefault(); // it would open the notebook, whose address it is relative to
  setHash(link.hash);
  visit();
});
visit();
