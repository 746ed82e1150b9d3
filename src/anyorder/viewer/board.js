// The positions of one row on the page: a Sudoku grid, or a strip of tokens in a text flow.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const EXACT = 0.9995;

function figure(value) {
  if (value === null) return "not finite";
  if (value >= EXACT && value < 1) return "> 0.999";
  return value.toFixed(3);
}

function tinyFigure(value) {
  const cut = Math.floor(Math.max(value, 0) * 100) / 100;
  return cut >= 10 ? cut.toFixed(0) : cut.toFixed(2).replace(/^0\./, ".").replace(/^(\d)\.00$/, "$1");
}

const CONTROL_PICTURES = 0x2400;
const LINE_ENDS = /[\n\u2028\u2029]/;
// Controls, and what reorders text or takes no room: two-way marks, zero-width spaces, byte-order marks, lone halves.
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu;

function pictured(character) {
  const code = character.codePointAt(0);
  if (LINE_ENDS.test(character)) return "\u21b5\n";
  if (character === "\t") return "\u21e5\t";
  if (code < 0x20) return String.fromCharCode(CONTROL_PICTURES + code);
  return `<${code.toString(16).padStart(4, "0")}>`;
}

// Characters that show nothing, made visible. The text itself only ever goes to the page as text content.
function visible(text) {
  return text === "" ? "\u2205" : text.replace(UNSEEN, pictured);
}

class Names {
  // vocabulary: { id: text } or null; grid: { size, box_rows, box_columns } or null.
  constructor(vocabulary, grid) {
    this.vocabulary = vocabulary;
    this.grid = grid;
  }

  token(id) {
    if (this.vocabulary === null) return String(id);
    const text = this.vocabulary[id];
    return text === undefined ? `#${id}` : visible(text);
  }

  // For sentences: a token of spaces would be lost without quotes.
  quoted(id) {
    return this.grid === null ? `\u201c${this.token(id).replaceAll("\n", "")}\u201d` : this.token(id);
  }

  place(position) {
    if (this.grid === null) return `position ${position}`;
    const { row, column } = this.coordinates(position);
    return `row ${row}, column ${column}`;
  }

  shortPlace(position) {
    if (this.grid === null) return `${position}`;
    const { row, column } = this.coordinates(position);
    return `r${row}c${column}`;
  }

  coordinates(position) {
    const { size } = this.grid;
    return { row: Math.floor(position / size) + 1, column: (position % size) + 1 };
  }
}

function statusOf(view, names, frames) {
  switch (view.state) {
    case GIVEN:
      return "given";
    case DECIDED:
      return view.event === null ? "decided before the first step" : `decided at step ${view.event.frame} of ${frames}`;
    case UNDECIDED: {
      const taken = view.taken ? ", taken back at this step" : "";
      return view.guess === null ? `undecided${taken}` : `undecided${taken}; first choice ${names.quoted(view.guess.token)}`;
    }
    default:
      return "padding";
  }
}

function figuresOf(view) {
  const source = view.event ?? view.guess;
  if (source === null) return [];
  const listed = [
    ["probability", figure(source.probability)],
    ["margin", figure(source.margin)],
    ["entropy", source.entropy === null ? figure(null) : `${figure(source.entropy)} nats`],
  ];
  if (source === view.event) listed.push(["log-probability", source.logProbability?.toPrecision(4) ?? figure(null)]);
  return listed;
}

function label(view, names, frames) {
  const token = view.state === GIVEN || view.state === DECIDED ? `: ${names.quoted(view.token)}` : "";
  const figures = figuresOf(view).map(([name, value]) => `${name} ${value}`);
  const parts = [`${names.place(view.position)}${token}`, statusOf(view, names, frames), ...figures];
  if (view.wrong) {
    parts.push(`${view.first ? "the first mistake" : "wrong"}, the solution has ${names.quoted(view.solution)}`);
  }
  if (view.clash) parts.push("repeats a digit of its row, column or box");
  return parts.join(", ").replace(/^./, (character) => character.toUpperCase());
}

// Where on the ramp of a colour mode a position lies, 0 to 1, and the small figure beside its token.
function shade(view, mode, frames, entropyMost) {
  const source = view.event ?? view.guess;
  if (source === null) return null;
  if (view.state === DECIDED && mode === "step") {
    return { ramp: "step", at: frames > 1 ? (view.event.frame - 1) / (frames - 1) : 1, text: String(view.event.frame) };
  }
  if (view.state === DECIDED && mode === "correctness") {
    if (view.solution === null) return null;
    return { ramp: "outcome", at: view.wrong ? 0 : 1, text: "" };
  }
  const [value, most] = mode === "entropy" ? [source.entropy, entropyMost] : [source.margin, 1];
  if (value === null) return null;
  const share = Math.min(Math.max(value / most, 0), 1);
  return { ramp: "sure", at: mode === "entropy" ? 1 - share : share, text: tinyFigure(value) };
}

function same(one, other) {
  return Object.keys(one).every((name) => one[name] === other[name]);
}

class Board {
  constructor(holder, names, length, describe) {
    this.names = names;
    this.length = length;
    this.describe = describe;
    this.cells = Array.from({ length }, (_, position) => this.makeCell(position));
    this.painted = new Array(length).fill(null);
    this.current = 0;
    this.root = names.grid === null ? this.makeStrip() : this.makeGrid(names.grid);
    holder.replaceChildren(this.root);
    this.root.addEventListener("keydown", (pressed) => this.onKey(pressed));
    this.root.addEventListener("focusin", (focused) => this.onFocus(focused));
  }

  makeCell(position) {
    const cell = element("div", { class: "cell", role: "gridcell", tabindex: "-1", "data-position": position });
    cell.append(element("span", { class: "glyph" }), element("span", { class: "figure" }));
    return cell;
  }

  makeGrid({ size, box_rows: boxRows, box_columns: boxColumns }) {
    const grid = element("div", { class: "grid", role: "grid", "data-size": size });
    grid.style.setProperty("--size", size);
    for (let row = 0; row < size; row += 1) {
      const line = element("div", { class: "line", role: "row", "aria-label": `Row ${row + 1}` });
      for (let column = 0; column < size; column += 1) {
        const cell = this.cells[row * size + column];
        if (column % boxColumns === 0 && column > 0) cell.classList.add("box-left");
        if (row % boxRows === 0 && row > 0) cell.classList.add("box-top");
        line.append(cell);
      }
      grid.append(line);
    }
    this.columns = size;
    return grid;
  }

  makeStrip() {
    const line = element("div", { class: "line", role: "row", "aria-label": "Tokens" }, ...this.cells);
    this.columns = 1;
    return element("div", { class: "strip", role: "grid" }, line);
  }

  // Digits that repeat in a unit, for puzzles whose solution is not known.
  clashes(replay) {
    const clashing = new Set();
    if (this.names.grid === null || replay.solution !== null) return clashing;
    const { size, box_rows: boxRows, box_columns: boxColumns } = this.names.grid;
    const seen = new Map();
    for (let position = 0; position < this.length; position += 1) {
      if (replay.state[position] === UNDECIDED) continue;
      const row = Math.floor(position / size);
      const column = position % size;
      const box = Math.floor(row / boxRows) * boxRows + Math.floor(column / boxColumns);
      for (const unit of [`row ${row}`, `column ${column}`, `box ${box}`]) {
        const key = `${unit} ${replay.tokens[position]}`;
        if (seen.has(key)) clashing.add(position).add(seen.get(key));
        else seen.set(key, position);
      }
    }
    return clashing;
  }

  paint(replay, mode, entropyMost) {
    const board = replay.currentBoard();
    const clashing = this.clashes(replay);
    this.views = this.cells.map((_, position) => {
      const view = replay.view(position, board);
      view.clash = clashing.has(position) && view.state === DECIDED;
      return view;
    });
    this.frames = replay.frames;
    this.views.forEach((view, position) => this.paintCell(view, position, mode, entropyMost));
    if (this.views[this.current].state === PADDING) this.current = 0;
    this.cells[this.current].tabIndex = 0;
  }

  paintCell(view, position, mode, entropyMost) {
    const last = this.painted[position];
    if (last !== null && last.mode === mode && same(last.view, view)) return;
    this.painted[position] = { view, mode };
    const shading = shade(view, mode, this.frames, entropyMost);
    const cell = this.cells[position];
    const [glyph, small] = cell.children;
    const shown = view.state === UNDECIDED ? view.guess?.token : view.token;
    cell.dataset.state = ["given", "decided", "undecided", "padding"][view.state];
    if (view.state === UNDECIDED) delete cell.dataset.token;
    else cell.dataset.token = view.token;
    glyph.textContent = shown === undefined ? "" : this.names.token(shown);
    small.textContent = mode === "correctness" && view.wrong ? this.names.token(view.solution) : shading?.text ?? "";
    for (const name of ["fresh", "taken", "wrong", "first", "clash"]) cell.classList.toggle(name, view[name]);
    cell.classList.toggle("guess", view.guess !== null);
    cell.dataset.ramp = shading?.ramp ?? "none";
    cell.style.setProperty("--at", shading === null ? "0" : shading.at.toFixed(3));
    cell.setAttribute("aria-label", label(view, this.names, this.frames));
    cell.hidden = view.state === PADDING;
  }

  onFocus(focused) {
    const position = Number(focused.target.dataset.position);
    this.cells[this.current].tabIndex = -1;
    this.current = position;
    this.cells[position].tabIndex = 0;
    this.describe(this, position);
  }

  onKey(pressed) {
    if (pressed.altKey || pressed.ctrlKey || pressed.metaKey) return;
    const start = this.current - (this.current % this.columns);
    const moves = {
      ArrowLeft: this.current - 1,
      ArrowRight: this.current + 1,
      ArrowUp: this.current - this.columns,
      ArrowDown: this.current + this.columns,
      Home: this.columns === 1 ? 0 : start,
      End: this.columns === 1 ? this.length - 1 : start + this.columns - 1,
    };
    const target = moves[pressed.key];
    if (target === undefined) return;
    pressed.preventDefault();
    pressed.stopPropagation();
    const step = target < this.current ? -1 : 1;
    let next = target;
    while (this.cells[next]?.hidden) next += step;
    this.cells[next]?.focus();
  }
}
