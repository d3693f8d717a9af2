// A queue of lines to decide on: accept, reject, edit or skip each, and take the file.

// What the number of a line is, and how the lines are ordered at first.
const MEASURES = {
  suspects: ["probability of being wrong", "most probably wrong first"],
  suggestions: ["effect on the loss", "as listed: most helpful first"],
  machine: ["how sure the prompts are", "as listed: most helpful first"],
  "held-out": ["", "as listed: at random"],
};

class Queue {
  constructor(name, title) {
    this.name = name;
    this.queue = DATA.queues[name];
    this.history = []; // what was decided since the page was opened, the last one last
    this.fileName = name === "suspects" ? "decisions.csv" : `decisions-${name}.csv`;
    this.notice = h("p", { class: "small", role: "status" });
    this.progress = h("span", { class: "progress" });
    this.meter = h("span", { class: "bar" });
    const lines = this.queue.lines;
    this.view = new View(name, {
      title,
      items: lines,
      measure: MEASURES[name][0],
      item: lineItem,
      detail: (line) => this.detail(line),
      tools: this.tools(),
      filters: this.filters(lines),
      orders: this.orders(),
    });
    this.count();
  }

  filters(lines) {
    const row = (line) => TRAINING[line.row];
    const found = [
      {
        name: "search",
        words: "Search text or id",
        search: true,
        of: (line) => [line.id, row(line).text],
      },
      {
        name: "state",
        words: "Decision",
        of: stateInWords,
        values: ["undecided", "accepted", "rejected", "skipped"],
      },
      {
        name: "kind",
        words: "Change",
        of: (line) => line.kind,
        values: Object.keys(KINDS).filter((kind) =>
          lines.some((line) => line.kind === kind),
        ),
        name_of: (kind) => KINDS[kind],
      },
      {
        name: "path",
        words: "About",
        of: (line) => line.path,
        name_of: (path) => (path === "row" ? "the whole row" : path),
        values: inPlace(distinct(lines, (line) => line.path)),
      },
      {
        name: "label",
        words: "Label of the row",
        of: (line) => row(line).label,
        values: DATA.classes,
      },
      {
        name: "current",
        words: "Value now",
        of: (line) => line.current,
        values: inOrder(
          distinct(lines, (line) =>
            line.kind === "reweight" || line.kind === "drop" ? null : line.current,
          ),
        ),
      },
      {
        name: "group",
        words: "Group",
        of: (line) => row(line).group,
        values: inOrder(DATA.groups),
      },
    ];
    if (this.name === "machine")
      found.push({
        name: "made",
        words: "Annotation",
        of: (line) => (isAsked(line) ? "missing" : "by prompts"),
        values: ["by prompts", "missing"],
      });
    if (lines.some((line) => line.p !== null)) {
      found.push({
        name: "p",
        words: "Probability of being wrong",
        slider: true,
        all: 0,
        say: (limit) => (limit ? `≥ ${limit} %` : "any"),
        passes: (line, limit) => line.p !== null && line.p >= limit,
      });
    }
    return found;
  }

  orders() {
    const least = { name: "sure", words: "least sure first", by: (line) => line.confidence };
    return [
      { name: "list", words: MEASURES[this.name][1] },
      ...(this.name === "machine" ? [least] : []),
      {
        name: "path",
        words: "what it is about",
        by: (line) => `${line.path} ${line.current}`,
      },
      { name: "group", words: "group", by: (line) => TRAINING[line.row].group ?? "" },
      { name: "row", words: "id", by: (line) => line.id },
    ];
  }

  tools() {
    const file = h("input", {
      type: "file",
      accept: ".csv,.tsv,.txt,text/csv",
      class: "unseen",
      tabindex: "-1",
      "aria-label": "File of earlier decisions",
      on: {
        change: async () => {
          if (!file.files.length) return;
          this.notice.textContent = importDecisions(
            await textOf(file.files[0]),
            this.queue,
            this.name,
          );
          this.history = []; // what the file says is not undone by a key
          file.value = "";
          this.changed();
        },
      },
    });
    return h(
      "div",
      { class: "tools" },
      h(
        "div",
        { class: "done" },
        this.progress,
        h("span", { class: "track", "aria-hidden": "true" }, this.meter),
      ),
      h(
        "div",
        { class: "buttons" },
        h(
          "button",
          { type: "button", class: "first", on: { click: () => this.save() } },
          `Download ${this.fileName}`,
        ),
        h(
          "button",
          { type: "button", on: { click: () => file.click() } },
          "Import decisions",
        ),
        file,
      ),
      this.notice,
    );
  }

  save() {
    const done = this.queue.lines.filter(isDecided).length;
    if (!done) {
      this.notice.textContent =
        "Nothing is decided yet: accept or reject a line first.";
      return;
    }
    download(this.fileName, decisionsFile(this.queue));
    const saved = `${many(done, "decision")} saved, where the browser keeps downloads.`;
    if (this.queue.again) {
      this.notice.textContent = `${saved} Next, run ${this.queue.again} again, as before and with --corrections ${this.fileName}: what you said stays, and corrects the prompts elsewhere.`;
      return;
    }
    this.notice.textContent = DATA.folder
      ? `${saved} Next, in a terminal there: skclif apply ${folderWords()} ${this.fileName}`
      : `${saved} Next, in the notebook: explainer.edit(**report.as_edit("${this.fileName}")), with the path of the file.`;
  }

  count() {
    const done = this.queue.lines.filter(isDecided).length;
    const all = this.queue.lines.length;
    this.progress.textContent = `${count(done)} of ${count(all)} decided`;
    this.meter.style.width = `${all ? (100 * done) / all : 0}%`;
    if (done && !keeps)
      this.notice.textContent =
        "This browser keeps nothing of this page: download the file before you close it.";
  }

  changed() {
    this.count();
    this.view.redraw();
  }

  // --- One line -----------------------------------------------------------------------

  detail(line) {
    const row = TRAINING[line.row];
    return [
      h(
        "header",
        {},
        h("h3", {}, changeWords(line)),
        h(
          "p",
          { class: "muted" },
          bdi(line.id),
          row.group !== null ? [" · group ", bdi(row.group)] : null,
        ),
      ),
      passage(row, "passage", line.marks),
      unmarked(line, this.queue.lines),
      this.known(line, row),
      this.evidence(line),
      line.truth
        ? h("p", {}, h("span", { class: "chip note" }, bdi(line.truth)))
        : null,
      this.panel(line),
    ];
  }

  // What else people said of the row.
  known(line, row) {
    const fact = (name, value, isIt, isGuessed = false) =>
      h(
        "div",
        { class: isIt ? "it" : "" },
        h("dt", {}, bdi(name)),
        h(
          "dd",
          {},
          value === null
            ? h("span", { class: "muted", text: "not annotated" })
            : [bdi(value), isGuessed ? h("span", { class: "muted", text: " by prompts" }) : null],
        ),
      );
    return h(
      "dl",
      { class: "facts" },
      row.label === null ? null : fact("label", row.label, line.path === "label"),
      DATA.concepts.map((concept, j) =>
        fact(
          concept.name,
          row.annotated[j],
          line.kind === "annotate" && line.path === concept.name,
          row.guessed?.[j],
        ),
      ),
    );
  }

  evidence(line) {
    const said = [];
    if (line.p !== null)
      said.push(
        h(
          "span",
          {},
          line.p < 0.5 ? "Probably right as it is: wrong" : "Probably wrong,",
          " with a probability of ",
          h("strong", { text: percent(line.p) }),
          ".",
        ),
      );
    if (line.effect !== null)
      said.push(
        " ",
        h(
          "span",
          { title: `${signed(line.effect)} nats` },
          isAsked(line) ? "If the guess is right, knowing it changes" : "It changes",
          " the mean loss on the held-out texts by ",
          h("strong", { text: signed(line.effect, 2) }),
          ` from ${DATA.loss.toFixed(3)}: `,
          line.effect < 0 ? "better." : "worse.",
        ),
      );
    if ((line.confidence ?? null) !== null) said.push(...this.byPrompts(line));
    else if (line.guess !== null)
      said.push(
        " ",
        h(
          "span",
          {},
          "The model guesses ",
          h("strong", {}, bdi(line.guess)),
          ", and is often wrong: only who reads the text can say.",
        ),
      );
    return h("p", {}, said);
  }

  byPrompts(line) {
    const sure = h("strong", { text: percent(line.confidence, 0) });
    const said = isMade(line)
      ? ["By prompts, which are ", sure, " sure; nobody has read it."]
      : ["The prompts guess ", h("strong", {}, bdi(line.guess)), ", and are only ", sure, " sure."];
    if ((line.gain ?? null) !== null)
      said.push(" It is among those that are expected to help this model most.");
    return said;
  }

  panel(line) {
    const own = decided(line),
      state = stateOf(line);
    const button = (name, words, key, act, isDisabled) =>
      h(
        "button",
        {
          type: "button",
          class: `decide ${name}`,
          "aria-pressed": state === name ? "true" : "false",
          disabled: isDisabled,
          "aria-keyshortcuts": key,
          on: { click: act },
        },
        words,
        " ",
        h("kbd", { text: key }),
      );
    const picker = this.picker(line);
    this.hint = h("p", { class: "hint", role: "status" }, farWords(line));
    const why = h("input", {
      type: "text",
      value: own.why,
      autocomplete: "off",
      on: {
        change: () => {
          decide(line, { why: why.value });
          this.count();
        },
      },
    });
    this.why = why;
    return h(
      "section",
      { class: "panel", "aria-label": "Decide" },
      h(
        "p",
        { class: "said", role: "status" },
        h("span", {
          class: `state ${state}`,
          "aria-hidden": "true",
          text: STATES[state][0],
        }),
        " ",
        STATES[state][1],
        own.proposed !== null && state === "edit"
          ? [
              ": ",
              h("b", {}, bdi(nameOf(line, own.proposed))),
              line.proposed !== null && line.kind !== "drop"
                ? [" (proposed was ", bdi(line.proposed), ")"]
                : null,
            ]
          : null,
      ),
      h(
        "div",
        { class: "buttons" },
        button("accept", this.acceptWords(line), "a", () => this.act("accept"), false),
        button("reject", this.rejectWords(line), "r", () => this.act("reject"), false),
        button("skip", "Skip", "s", () => this.act("skip"), false),
        own.decision
          ? h(
              "button",
              { type: "button", class: "decide", on: { click: () => this.clear() } },
              "Clear decision",
            )
          : null,
      ),
      picker,
      this.hint,
      field(this.queue.again ? "Why" : "Why (goes into the trail)", why),
    );
  }

  acceptWords(line) {
    if (line.kind === "drop") return ["Leave it out"];
    if (isMade(line)) return [bdi(line.current), " is right"];
    return line.proposed === null
      ? ["Accept the value below"]
      : ["Accept ", bdi(line.proposed)];
  }

  rejectWords(line) {
    if (line.kind === "drop") return ["Keep the row"];
    if (isMade(line)) return ["It is wrong: choose"];
    if (this.queue.again) return ["Leave it missing"];
    return line.current === null
      ? ["The text does not say"]
      : ["Keep ", bdi(line.current)];
  }

  // Another value than the proposed one: of those that the model knows, or any number.
  picker(line) {
    const choices = choicesOf(line);
    this.input = null;
    if (choices !== null && !choices.length) return null;
    const kept = stateOf(line) === "reject" ? currentWritten(line) : null;
    const chosen = decided(line).proposed ?? kept ?? "";
    this.input =
      choices === null
        ? this.numberInput(line, chosen)
        : this.valueSelect(line, choices, chosen);
    const key = h("kbd", { text: "e" });
    const words = isAsked(line) ? "Its value, as the text says it" : "Another value";
    const picker = field([words, " ", key], this.input);
    if (choices !== null || line.kind !== "annotate" || isAsked(line)) return picker;
    const takeAway = h(
      "button",
      { type: "button", class: "quiet", on: { click: () => this.edit(UNANNOTATED) } },
      "No annotation: take it away",
    );
    return [picker, h("div", {}, takeAway)];
  }

  numberInput(line, chosen) {
    const isWeight = line.kind === "reweight";
    const change = (written) => {
      if (written !== "") this.edit(written);
    };
    return numberField(
      { value: chosen },
      change,
      ...(isWeight ? [0, 1000000] : []),
    );
  }

  valueSelect(line, choices, chosen) {
    const others = choices.filter(
      ([value, written]) => written !== line.proposed && (value || !isAsked(line)),
    );
    const words = (value) => {
      if (value === "") return "no annotation: take it away";
      return value === line.current ? `${value} (as it is)` : value;
    };
    // Arrows and letters pass through the values. Enter takes the one that is reached,
    // and so does a choice from the open list; leaving takes none.
    let isPassing = false,
      isReached = false;
    const keydown = (event) => {
      const opens = event.altKey || event.key === " ";
      isPassing = !opens && /^(Arrow|Page|Home|End|.$)/.test(event.key);
      if (event.key !== "Enter" || !this.input.value) return;
      event.preventDefault();
      if (isReached) {
        isReached = false;
        this.edit(this.input.value);
      }
      this.view.next(1);
      this.focus();
    };
    const change = () => {
      isReached = isPassing && this.input.value !== chosen;
      const words = this.input.selectedOptions[0].textContent;
      const isSaid = isReached && this.input.value !== "";
      this.hint.textContent = isSaid ? `Enter takes: ${words}` : "";
      if (!isPassing && this.input.value !== "") this.edit(this.input.value);
    };
    const blur = (event) => {
      if (!isReached) return;
      isReached = false;
      event.target.value = others.some(([, written]) => written === chosen) ? chosen : "";
      this.hint.textContent = "";
    };
    const pointerdown = () => {
      isPassing = false;
    };
    return h(
      "select",
      { on: { change, keydown, blur, pointerdown } },
      option("", "choose …"),
      others.map(([value, written]) =>
        option(written, words(value), written === chosen),
      ),
    );
  }

  edit(written) {
    const line = this.view.shown;
    if (line.current !== null && written === currentWritten(line))
      this.take(line, { decision: "reject", proposed: null });
    else
      this.take(line, {
        decision: "accept",
        proposed: written === line.proposed ? null : written,
      });
    this.focus();
  }

  focus() {
    this.view.pane.querySelector(".decide")?.focus();
  }

  act(what) {
    if (what === "undo") {
      this.undo();
      return;
    }
    const line = this.view.shown;
    if (!line) return;
    if (
      what === "edit" ||
      (what === "reject" && isMade(line)) ||
      (what === "accept" && line.proposed === null && decided(line).proposed === null)
    ) {
      if (this.input) this.input.focus();
      return;
    }
    const proposed =
      what === "accept" && line.proposed === null ? decided(line).proposed : null;
    this.take(line, { decision: what, proposed });
    this.view.next(1);
  }

  clear() {
    this.take(this.view.shown, { decision: "", proposed: null });
  }

  // Take back what was decided last, and show that line.
  undo() {
    const last = this.history.pop();
    if (!last) {
      this.notice.textContent =
        "Nothing to undo: nothing was decided since this page was opened. “Clear decision” takes back an earlier one.";
      return;
    }
    const { line, before } = last;
    const hadFocus = this.view.pane.contains(document.activeElement);
    decide(line, { decision: before.decision, proposed: before.proposed });
    this.changed();
    const isListed = this.view.goTo(line);
    if (hadFocus) this.focus();
    const where = line.path === "row" ? "the whole row" : line.path;
    const filtered = isListed ? "" : " It does not pass these filters.";
    this.notice.textContent = `Undone: ${line.id}, ${where}.${filtered}`;
  }

  take(line, change) {
    this.history.push({ line, before: decided(line) });
    const hadFocus = this.view.pane.contains(document.activeElement);
    decide(line, { ...change, why: this.why?.value ?? "" });
    this.notice.textContent = "";
    this.changed();
    if (hadFocus) this.focus();
  }
}
