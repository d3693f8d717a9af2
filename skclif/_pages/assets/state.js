// What the page was given, and what was decided on it.

// The address says what is shown. A frame of a notebook has none, so it is kept here.
const FRAMED = location.protocol === "about:";
let framedHash = "";

function shownHash() {
  return FRAMED ? framedHash : location.hash;
}

function setHash(hash) {
  if (FRAMED) framedHash = hash;
  else history.replaceState(null, "", hash);
}

const DATA = JSON.parse(document.getElementById("data").textContent);
const HEAD = DATA.head;
const TRAINING = DATA.training;

const decisions = new Map(); // by key of a line: {decision, proposed, why}
let keeps = true; // whether this browser keeps them

// The same change can be in both queues, which ask different questions.
function keyOf(line) {
  return JSON.stringify([line.queue, line.kind, line.id, line.path]);
}

function decided(line) {
  return decisions.get(keyOf(line)) ?? { decision: "", proposed: null, why: "" };
}

function decide(line, change) {
  const now = { ...decided(line), ...change };
  if (now.decision === "" && now.why === "") decisions.delete(keyOf(line));
  else decisions.set(keyOf(line), now);
  keep();
}

// Some browsers refuse storage to files: then only the download keeps decisions.
function storage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

function keep() {
  try {
    storage().setItem(DATA.key, JSON.stringify([...decisions]));
    keeps = true;
  } catch {
    keeps = false;
  }
}

function restore() {
  try {
    const kept = storage().getItem(DATA.key);
    for (const [key, value] of JSON.parse(kept ?? "[]")) decisions.set(key, value);
  } catch {
    keeps = storage() !== null; // what is there and cannot be read is written anew
  }
}

function isDecided(line) {
  return decided(line).decision !== "";
}

const UNANNOTATED = "unannotated"; // what takes an amount away, in a file

// The values that can be chosen for a line, each with how a file names it; null if any
// number can.
function choicesOf(line) {
  if (line.kind === "relabel") return DATA.classes.map((value) => [value, value]);
  if (line.kind === "annotate")
    return DATA.concepts.find((one) => one.name === line.path).values;
  return line.kind === "drop" ? [] : null;
}
