// A text, and the words in it that speak for a value or against it.

const LONG = 900,
  FOLD = 600,
  LEVELS = 4, // of the strength of marks
  LEAST_MARK = 0.3, // of the largest share, for a word to be marked
  LISTED = 5; // words with their numbers

// Words with a share: [{start, end, share, level}], with the first `end` characters.
function markedWords(marks, k, end = Infinity) {
  const found = [];
  const { shares, largest: scale } = marks.of[k];
  let last = 0;
  for (const [i, share] of shares.entries()) {
    const start = last + marks.at[2 * i];
    last = start + marks.at[2 * i + 1];
    if (last <= end) found.push({ start, end: last, share: (share / 1000) * scale });
  }
  const largest = Math.max(Number.MIN_VALUE, ...found.map((word) => Math.abs(word.share)));
  for (const word of found) {
    const part = Math.abs(word.share) / largest;
    word.level = part < LEAST_MARK ? 0 : Math.max(1, Math.ceil(LEVELS * part));
  }
  return found;
}

function shareWords(share, of) {
  const amount = of.value === null;
  const side = amount ? (share > 0 ? "more" : "less") : share > 0 ? "for" : "against";
  return `${signed(share)}${amount ? "" : " log-odds"}, ${side}${amount ? "" : ` ${of.value}`}`;
}

function markedText(text, words, of) {
  const pieces = [];
  let from = 0;
  for (const word of words) {
    if (!word.level) continue;
    pieces.push(text.slice(from, word.start));
    pieces.push(
      h("mark", {
        class: `${word.share > 0 ? "for" : "against"} level-${word.level}`,
        title: shareWords(word.share, of),
        text: text.slice(word.start, word.end),
      }),
    );
    from = word.end;
  }
  pieces.push(text.slice(from));
  return pieces;
}

// The words with the largest shares, in numbers, for those who do not see marks.
function largestWords(text, words, of) {
  const order = words
    .filter((word) => word.share !== 0)
    .sort((a, b) => Math.abs(b.share) - Math.abs(a.share));
  return h(
    "p",
    { class: "small muted shares" },
    of.linear ? "Most of all, near this text: " : "Most of all: ",
    order
      .slice(0, LISTED)
      .map((word, k) => [
        k ? ", " : null,
        bdi(text.slice(word.start, word.end)),
        " ",
        h("span", {
          class: "num",
          title: shareWords(word.share, of),
          text: signed(word.share),
        }),
      ]),
    of.value === null ? "." : " log-odds.",
  );
}

function asked(of) {
  if (of.value === null) return of.path;
  return `${of.path}: ${of.value}${of.against === null ? "" : `, not ${of.against}`}`;
}

// A text; with marks, also what they are about, and a choice if there are several.
function passage(row, className = "passage", marks = null) {
  if (row.text === null) {
    return h(
      "p",
      { class: "muted" },
      DATA.folder
        ? "Text withheld; its hash is "
        : "No text: the model was given features. Their hash is ",
      h("code", { text: row.hash }),
      ".",
    );
  }
  const block = h("blockquote", { class: className, dir: "auto" });
  const numbers = h("div", {});
  const cut = row.length
    ? h("p", {
        class: "muted small",
        text: `The first ${count(row.text.length)} of ${count(row.length)} characters; the tables have all of them.`,
      })
    : null;
  let isWhole = row.text.length <= LONG;
  let chosen = marks ? 0 : -1;
  const space = row.text.lastIndexOf(" ", FOLD);
  const fold = space > FOLD / 2 ? space : FOLD;
  const more = h(
    "button",
    {
      type: "button",
      class: "quiet",
      on: {
        click: () => {
          isWhole = true;
          show();
          block.tabIndex = -1;
          block.focus();
        },
      },
    },
    "Read on",
  );
  const show = () => {
    const shown = isWhole ? row.text : row.text.slice(0, fold);
    const of = chosen < 0 ? null : marks.of[chosen];
    const words = of ? markedWords(marks, chosen, shown.length) : [];
    fill(block, markedText(shown, words, of), isWhole ? null : ["… ", more]);
    fill(numbers, of ? largestWords(shown, words, of) : null);
  };
  show();
  if (!marks) return [block, cut];
  const choice = h(
    "select",
    {
      on: {
        change: (event) => {
          chosen = Number(event.target.value);
          show();
        },
      },
    },
    marks.of.map((of, k) => option(k, asked(of), k === 0)),
    option(-1, "nothing", false),
  );
  return [
    h(
      "div",
      { class: "marking" },
      field("Words marked for", choice),
      h(
        "p",
        { class: "small muted" },
        h("mark", { class: "for level-2", text: "for it" }),
        " ",
        h("mark", { class: "against level-2", text: "against it" }),
      ),
    ),
    block,
    numbers,
    cut,
  ];
}
