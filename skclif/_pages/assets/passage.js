// A text, and the words in it that speak for a value or against it.

const LONG = 900,
  FOLD = 600,
  LEVELS = 4, // of the strength of marks
  LEAST_MARK = 0.3, // of the largest share, for a word to be marked
  LISTED = 5; // words with their numbers

// Words with a share: [{start, end, share, level}].
function markedWords(marks, k) {
  const { shares, largest } = marks.of[k];
  // As many decimals as thousandths of the largest share have a meaning.
  const decimals = 2 - Math.floor(Math.log10(largest));
  const digits = Math.min(20, Math.max(0, decimals));
  let last = 0;
  return shares.map((thousandths, i) => {
    const start = last + marks.at[2 * i];
    last = start + marks.at[2 * i + 1];
    const part = Math.abs(thousandths) / 1000;
    return {
      start,
      end: last,
      share: Number(((thousandths / 1000) * largest).toFixed(digits)),
      level: part < LEAST_MARK ? 0 : Math.ceil(LEVELS * part),
    };
  });
}

function shareWords(share, of) {
  if (of.value === null)
    return `${signed(share)}, ${share > 0 ? "raises" : "lowers"} ${of.path}`;
  return `${signed(share)} log-odds, ${share > 0 ? "for" : "against"} ${of.value}`;
}

function markedText(text, words, of) {
  const pieces = [];
  let from = 0;
  for (const word of words) {
    if (word.end > text.length) break; // folded away
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

function legendOf(of) {
  const [up, down] =
    of.value === null ? ["raises it", "lowers it"] : ["for it", "against it"];
  return [
    h("mark", { class: "for level-2", text: up }),
    " ",
    h("mark", { class: "against level-2", text: down }),
  ];
}

function asked(of) {
  if (of.value === null) return of.path;
  return `${of.path}: ${of.value}${of.against === null ? "" : `, not ${of.against}`}`;
}

// What says that a text is behind those of its list that have marks; null if it is not.
function unmarked(one, list) {
  const first = list.filter((other) => "marks" in other).length;
  if (!first || "marks" in one) return null;
  const which = first === 1 ? "text" : `${count(first)} texts`;
  return h("p", {
    class: "muted small",
    text: `Words are marked only in the first ${which} of this list, as it is sorted at first.`,
  });
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
  const legend = h("p", { class: "small muted" });
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
    const words = of ? markedWords(marks, chosen) : [];
    fill(block, markedText(shown, words, of), isWhole ? null : ["… ", more]);
    fill(numbers, of ? largestWords(row.text, words, of) : null);
    fill(legend, of ? legendOf(of) : null);
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
      legend,
    ),
    block,
    numbers,
    cut,
  ];
}
