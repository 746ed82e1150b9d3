// One row of one trace: its board, counters, chart and what the shown step did.

const LISTED_EVENTS = 9;

class Panel {
  // source: { trace, row, names }; actions: { seek, describe } and, where rows can be exchanged, { rows, pick, remove }.
  constructor(source, actions) {
    this.trace = source.trace;
    this.row = source.row;
    this.names = source.names;
    this.describe = actions.describe;
    this.seek = actions.seek;
    this.root = document.getElementById("panel-template").content.firstElementChild.cloneNode(true);
    this.find("h2").textContent = actions.rows === undefined ? this.trace.label : "Row";
    this.root.setAttribute("aria-label", `${this.trace.label}, row ${this.row.row}`);
    this.fillRecipe();
    if (actions.rows !== undefined) this.offerRows(actions);
    this.chart = new Chart(this.find(".chart"), actions.seek);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  offerRows({ rows, pick, remove }) {
    const select = this.find(".panel-row");
    select.append(...rows);
    select.value = this.row.row;
    select.hidden = false;
    select.addEventListener("change", () => pick(Number(select.value)));
    const close = this.find(".panel-close");
    close.hidden = false;
    close.addEventListener("click", remove);
  }

  fillRecipe() {
    const { strategy, model, seed } = this.trace;
    const parts = [...Object.entries(strategy), ["model", model], ["seed", seed ?? "none"]];
    const lines = parts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]);
    this.find(".recipe dl").append(...lines);
  }

  async load(open) {
    this.replay = await open(this.row);
    this.board = new Board(this.find(".canvas"), this.names, this.replay.length, this.describe);
    this.board.root.setAttribute("aria-label", `${this.trace.label}, row ${this.row.row}`);
    const mistake = this.replay.firstMistake;
    if (mistake === null) return;
    const go = this.find(".go");
    go.textContent = `first at step ${mistake.frame}`;
    go.hidden = false;
    go.addEventListener("click", () => this.seek(mistake.frame));
  }

  // Shows the row after `step` steps, or its end where it has fewer.
  render(step, colour, entropyMost) {
    const replay = this.replay;
    replay.seek(Math.min(step, replay.frames));
    this.board.paint(replay, colour, entropyMost);
    const { decided, wrong, undecided } = replay.counts();
    this.count("nfe", replay.evaluations(), replay.steps.at(-1)?.nfe ?? 0);
    this.count("decided", decided, replay.unknown);
    this.count("wrong", wrong);
    const mistakes = this.find('[data-holds="wrong"]');
    mistakes.hidden = replay.solution === null;
    mistakes.classList.toggle("some", wrong > 0);
    this.renderEvents(undecided, wrong);
  }

  count(name, value, most) {
    const holder = this.find(`[data-counter="${name}"]`);
    holder.replaceChildren(element("b", {}, String(value)), ...(most === undefined ? [] : [` of ${most}`]));
  }

  renderEvents(undecided, wrong) {
    const replay = this.replay;
    const heading = this.find(".events h3");
    const list = this.find(".events ol");
    if (replay.frame === 0) {
      heading.textContent = replay.frames === 0 ? "Nothing was decoded" : "Before the first step";
      list.replaceChildren();
      return;
    }
    const step = replay.steps[replay.frame - 1];
    const lines = step.events.slice(0, LISTED_EVENTS).map((event) => this.eventLine(event));
    const more = step.events.length - lines.length;
    if (more > 0) lines.push(element("li", { class: "quiet" }, `and ${more} more`));
    if (step.remasked.length > 0) {
      const places = step.remasked.slice(0, LISTED_EVENTS).map((position) => this.names.shortPlace(position));
      const others = step.remasked.length > places.length ? ` and ${step.remasked.length - places.length} more` : "";
      lines.push(element("li", { class: "quiet" }, `taken back: ${places.join(", ")}${others}`));
    }
    if (lines.length === 0) lines.push(element("li", { class: "quiet" }, "revealed nothing"));
    const ended = replay.frame === replay.frames ? `, the last: ${this.ending(undecided, wrong)}` : "";
    heading.textContent = `Step ${replay.frame}${ended}`;
    list.replaceChildren(...lines);
  }

  ending(undecided, wrong) {
    if (undecided > 0) return `${undecided} left undecided (${this.replay.finish})`;
    if (this.replay.solution === null) return this.replay.finish;
    return wrong === 0 ? "all as in the solution" : `${wrong} differ from the solution`;
  }

  eventLine(event) {
    const wrong = this.replay.solution !== null && event.token !== this.replay.solution[event.position];
    const line = element("li", wrong ? { class: "wrong" } : {});
    const figures = `margin ${figure(event.margin)}, probability ${figure(event.probability)}`;
    line.append(
      element("span", { class: "place" }, this.names.shortPlace(event.position)),
      element("b", {}, this.names.quoted(event.token)),
      element("span", { class: "quiet" }, figures),
    );
    if (wrong) line.append(element("em", {}, `solution ${this.names.quoted(this.replay.solution[event.position])}`));
    return line;
  }
}
