// Decisions as a file that `skclif apply` reads, and back.

// What a spreadsheet takes for the beginning of a formula; as in _storage/cells.py, with
// the white space of Python.
const SPACE =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const FORMULA = new RegExp(
  `^(?:[${SPACE}']*[=+\\-@\\uff1d\\uff0b\\uff0d\\uff20]|'*[\\t\\r\\n])`,
);
const NUMBER = /^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/;

function isFormula(cell) {
  return FORMULA.test(cell) && !NUMBER.test(cell);
}

function escapeCell(cell) {
  return isFormula(cell) ? `'${cell}` : cell;
}

function unescapeCell(cell) {
  return cell.startsWith("'") && isFormula(cell.slice(1)) ? cell.slice(1) : cell;
}

function quoted(cell) {
  return `"${escapeCell(cell ?? "").replaceAll('"', '""')}"`;
}

// A line as it is in the list of the folder, with what was decided.
function cellsOf(line) {
  const row = TRAINING[line.row];
  const own = decided(line);
  return {
    ...line.more,
    decision: own.decision,
    why: own.why,
    kind: line.kind,
    id: line.id,
    text_hash: `h:${row.hash}`,
    path: line.path,
    current: line.current,
    proposed: own.proposed ?? line.proposed,
    group: row.group,
    text: row.length ? "" : row.text, // one that was cut off is no longer the text
  };
}

function decisionsFile(queue) {
  const lines = queue.lines.filter(isDecided).map((line) => {
    const cells = cellsOf(line);
    return queue.columns.map((name) => quoted(cells[name])).join(",");
  });
  return [queue.columns.map(quoted).join(","), ...lines].join("\n") + "\n";
}

// The cells of a file with quotes, by line; the separator is the one of its first line.
function parseTable(text) {
  const source = text.replace(/^\ufeff/, "");
  const first = source.split(/\r|\n/, 1)[0];
  const separator =
    [",", ";", "\t"].find((mark) => first.split(mark).length > 3) ?? ",";
  const lines = [];
  let cells = [],
    cell = "",
    inQuotes = false;
  for (let i = 0; i < source.length; i += 1) {
    const c = source[i];
    if (inQuotes) {
      if (c !== '"') cell += c;
      else if (source[i + 1] === '"') {
        cell += '"';
        i += 1;
      } else inQuotes = false;
    } else if (c === '"' && cell === "") inQuotes = true;
    else if (c === separator) {
      cells.push(cell);
      cell = "";
    } else if (c === "\n" || c === "\r") {
      if (c === "\r" && source[i + 1] === "\n") i += 1;
      cells.push(cell);
      lines.push(cells);
      cells = [];
      cell = "";
    } else cell += c;
  }
  if (cell !== "" || cells.length) {
    cells.push(cell);
    lines.push(cells);
  }
  return lines.filter((one) => one.length > 1 || one[0] !== "");
}

const WORDS = new Map([
  ...["accept", "accepted", "yes", "y"].map((word) => [word, "accept"]),
  ...["reject", "rejected", "no", "n"].map((word) => [word, "reject"]),
  ...["skip", "skipped"].map((word) => [word, "skip"]),
]);
// How the packed files of spreadsheets begin: .xlsx and .ods, and old .xls.
const PACKED = /^(PK\u0003\u0004|\ufffd\ufffd\u0011)/;
const NEEDED = ["decision", "kind", "id", "path"];

// The text of a file, which some spreadsheets write in UTF-16.
async function textOf(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const marks = { "255,254": "utf-16le", "254,255": "utf-16be" };
  const encoding = marks[bytes.slice(0, 2).join()] ?? "utf-8";
  return new TextDecoder(encoding).decode(bytes);
}

// Take decisions from a file; returns in words what became of them.
function importDecisions(text, queue, name) {
  if (PACKED.test(text)) {
    const reader = DATA.folder ? "skclif apply" : "report.as_edit";
    return `Nothing was read: this is a file of a spreadsheet, such as Excel. Save it as CSV for this page; ${reader} reads .xlsx as it is.`;
  }
  const [names = [], ...rows] = parseTable(text);
  const columns = names.map((name) => unescapeCell(name).trim());
  const missing = NEEDED.filter((name) => !columns.includes(name));
  if (missing.length) {
    return `Nothing was read: the file has no column ${missing.join(", ")}. A file of decisions has the columns of the list, in CSV.`;
  }
  const known = new Map(queue.lines.map((line) => [keyOf(line), line]));
  let taken = 0,
    unknown = 0,
    unclear = 0;
  for (const row of rows) {
    const cells = Object.fromEntries(
      columns.map((column, k) => [column, unescapeCell(row[k] ?? "")]),
    );
    const word = cells.decision.trim().toLowerCase();
    if (word === "") continue;
    const line = known.get(
      keyOf({ queue: name, kind: cells.kind, id: cells.id, path: cells.path }),
    );
    const isSame =
      line && (cells.text_hash ?? "").replace(/^h:/, "") === TRAINING[line.row].hash;
    if (!isSame) unknown += 1;
    else if (!WORDS.has(word)) unclear += 1;
    else {
      const proposed = cells.proposed ?? "";
      const isOwn = WORDS.get(word) === "accept" && proposed !== (line.proposed ?? "");
      decide(line, {
        decision: WORDS.get(word),
        proposed: isOwn ? proposed : null,
        why: cells.why ?? "",
      });
      taken += 1;
    }
  }
  const parts = [`${many(taken, "decision")} read.`];
  if (unknown)
    parts.push(
      `${many(unknown, "line")} left out: not in this list, or of another text.`,
    );
  if (unclear)
    parts.push(
      `${many(unclear, "line")} left out: the decision is none of accept, reject and skip.`,
    );
  return parts.join(" ");
}

// The folder of this page as a terminal takes it; DIR where a server shows the page.
function folderWords() {
  if (location.protocol !== "file:") return "DIR";
  const path = decodeURIComponent(location.pathname).replace(/[^/]*$/, "");
  const folder = path.replace(/^\/(?=[A-Za-z]:)/, "").replace(/(?<=.)\/$/, "");
  return /^[\w./:-]+$/.test(folder) ? folder : `"${folder}"`;
}

function download(name, content) {
  const url = URL.createObjectURL(
    new Blob([content], { type: "text/csv;charset=utf-8" }),
  );
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
