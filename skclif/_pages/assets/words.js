// Numbers as people read them.

const NARROW = "\u00a0",
  MINUS = "\u2212";

function count(n) {
  return n.toLocaleString("en-US");
}

function many(n, thing) {
  return `${count(n)} ${thing}${n === 1 ? "" : "s"}`;
}

function percent(share, digits = 1) {
  if (share === null || Number.isNaN(share)) return "–";
  return `${(100 * share).toFixed(digits)}${NARROW}%`;
}

// Two shares with as many digits as it takes to tell them apart.
function fromTo(before, after) {
  let digits = 1;
  while (digits < 4 && percent(before, digits) === percent(after, digits)) digits += 1;
  return [percent(before, digits), percent(after, digits)];
}

function signed(value, digits = 3) {
  if (value === 0) return "0";
  const small = Math.abs(value) < 0.0001;
  const said = small
    ? Math.abs(value).toExponential(1)
    : String(Number(Math.abs(value).toPrecision(digits)));
  return `${value < 0 ? MINUS : "+"}${said.replace("e-", `·10^${MINUS}`)}`;
}

// A text in one line, for a list.
function snippet(row) {
  if (row.text === null) return `text ${row.hash}`;
  return row.text.slice(0, 200).replace(/\s+/g, " ");
}
