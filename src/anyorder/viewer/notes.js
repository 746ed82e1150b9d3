// What explains the board: the legend, and the tooltip of a position.

function swatch(kind, name) {
  return element("span", { class: "item" }, element("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), name);
}

function ramp(kind, name, from, to) {
  const bar = element("span", { class: `ramp ${kind}`, "aria-hidden": "true" });
  return element("span", { class: "item" }, `${name}: ${from}`, bar, to);
}

// The entries of the legend for what the rows hold: { board, solution, remasked, grid }.
function legendItems(colour, holds, entropyMost) {
  const entropyEnds = [`${entropyMost} nats`, "0"];
  const items = [swatch("given", "given")];
  if (colour === "step") items.push(ramp("by-step", "decided", "first step", "last"));
  if (colour === "margin") items.push(ramp("by-sure", "decided, by margin", "0", "1, sure"));
  if (colour === "entropy") items.push(ramp("by-sure", "decided, by entropy", entropyEnds[0], "0, sure"));
  if (colour === "correctness" && holds.solution) {
    items.push(swatch("right", "as in the solution"), swatch("astray", "not as in the solution"));
  }
  items.push(swatch("fresh", "decided at this step"));
  if (holds.board) {
    const [name, ends] = colour === "entropy" ? ["entropy", entropyEnds] : ["margin", ["0", "1"]];
    items.push(ramp("by-sure open", `undecided, first choice by ${name}`, ...ends));
  } else {
    items.push(swatch("open", "undecided"));
  }
  if (holds.solution) items.push(swatch("wrong", "differs from the solution"), swatch("first", "first mistake"));
  else if (holds.grid) items.push(swatch("wrong", "repeats a digit"));
  if (holds.remasked) items.push(swatch("taken", "taken back at this step"));
  return items;
}

const TOOLTIP_GAP = 8;

class Tooltip {
  constructor(root) {
    this.root = root;
  }

  show(board, position) {
    const view = board.views[position];
    const place = board.names.place(position).replace(/^./, (character) => character.toUpperCase());
    const heading = element("strong", {}, place);
    if (view.state === DECIDED || view.state === GIVEN) heading.append(": ", board.names.quoted(view.token));
    const lines = [heading, element("p", {}, statusOf(view, board.names, board.frames))];
    const figures = figuresOf(view).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
    if (figures.length > 0) lines.push(element("dl", {}, ...figures));
    if (view.wrong) {
      const said = `${view.first ? "First mistake" : "Wrong"}: the solution has ${board.names.quoted(view.solution)}`;
      lines.push(element("p", { class: "wrong" }, said));
    }
    if (view.clash) lines.push(element("p", { class: "wrong" }, "Repeats a digit of its row, column or box"));
    this.root.replaceChildren(...lines);
    this.root.hidden = false;
    this.place(board.cells[position].getBoundingClientRect());
  }

  // Above the position where there is room, else below, and never beyond the window's sides.
  place(cell) {
    const { offsetWidth: width, offsetHeight: height } = this.root;
    const last = Math.max(document.documentElement.clientWidth - width - TOOLTIP_GAP, TOOLTIP_GAP);
    const left = Math.min(Math.max(cell.left + cell.width / 2 - width / 2, TOOLTIP_GAP), last);
    const above = cell.top - height - TOOLTIP_GAP;
    this.root.style.left = `${left + window.scrollX}px`;
    this.root.style.top = `${(above > 0 ? above : cell.bottom + TOOLTIP_GAP) + window.scrollY}px`;
  }

  hide() {
    this.root.hidden = true;
  }
}
