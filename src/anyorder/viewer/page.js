// The page: what is shown (rows, step, colour, chart), its controls, and the address that links to it.

const COLOURS = { step: "step", margin: "margin", entropy: "entropy", correctness: "right or wrong" };
const CHARTS = { margin: "margin", probability: "probability", entropy: "entropy" };
const SPEEDS = { "0.5": "½×", 1: "1×", 2: "2×", 4: "4×", 8: "8×" };
const STEPS_A_SECOND = 3;
const KEPT_ROWS = 16;
const STRIDE = 10;
const MOST_PANELS = 4;

const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId("data").textContent);
const traces = page.traces;
const names = traces.map((trace) => new Names(trace.vocabulary, page.grid));
const rowNumbers = traces[0].rows.map((row) => row.row);
const compares = traces.length > 1;
const knowsSolution = traces.some((trace) => trace.rows.some((row) => row.wrong !== null));
const legend = byId("legend");
const tooltip = new Tooltip(byId("tooltip"));

const state = { rows: [rowNumbers[0]], step: 0, colour: "step", chart: "margin", speed: "1" };
let panels = [];
let timer = null;
let fromPointer = false;

// ---- rows

const opened = new Map();

// The replay of a row, unpacked once and kept while it is among the last used.
function openRow(row) {
  const replay = opened.get(row) ?? Replay.open(row);
  opened.delete(row);
  opened.set(row, replay);
  if (opened.size > KEPT_ROWS) opened.delete(opened.keys().next().value);
  return replay;
}

function rowOf(trace, number) {
  return trace.rows.find((row) => row.row === number);
}

function rowOutcome(row) {
  if (row.wrong > 0) return `${row.wrong} wrong`;
  if (row.undecided > 0) return `${row.undecided} left open`;
  return row.wrong === null ? row.finish_reason : "right";
}

function rowName(number) {
  const rows = traces.map((trace) => rowOf(trace, number));
  if (!compares) return `${number}, ${rowOutcome(rows[0])}`;
  if (!knowsSolution) return String(number);
  return `${number}, ${rows.filter((row) => row.wrong === 0 && row.undecided === 0).length} of ${rows.length} right`;
}

function rowChoices() {
  return rowNumbers.map((number) => element("option", { value: number }, rowName(number)));
}

// ---- showing

// Every trace at one row, or one trace at one or several rows.
function makePanels() {
  const actions = { seek, describe: (board, position) => tooltip.show(board, position) };
  if (compares) {
    const [number] = state.rows;
    return traces.map((trace, at) => new Panel({ trace, row: rowOf(trace, number), names: names[at] }, actions));
  }
  return state.rows.map((number, index) => {
    const exchange = state.rows.length === 1 ? {} : {
      rows: rowChoices(),
      pick: (picked) => showRows(state.rows.with(index, picked)),
      remove: () => showRows(state.rows.filter((_, at) => at !== index)),
    };
    return new Panel({ trace: traces[0], row: rowOf(traces[0], number), names: names[0] }, { ...actions, ...exchange });
  });
}

function mostSteps() {
  return Math.max(...panels.map((panel) => panel.replay.frames));
}

function firstMistake() {
  const frames = panels.map((panel) => panel.replay.firstMistake?.frame).filter((frame) => frame !== undefined);
  return frames.length === 0 ? null : Math.min(...frames);
}

let generation = 0;

async function showRows(rows) {
  state.rows = rows;
  generation += 1;
  const mine = generation;
  const made = makePanels();
  await Promise.all(made.map((panel) => panel.load(openRow)));
  if (mine !== generation) return;
  panels = made;
  const holder = byId("panels");
  if (page.grid !== null) holder.style.setProperty("--size", page.grid.size);
  holder.dataset.count = panels.length;
  holder.dataset.layout = page.grid === null ? "strip" : "grid";
  holder.replaceChildren(...panels.map((panel) => panel.root));
  state.step = Math.min(state.step, mostSteps());
  render();
}

function render() {
  for (const panel of panels) panel.render(state.step, state.colour, page.entropy_most);
  drawCharts();
  drawLegend();
  drawControls();
  tooltip.hide();
  if (timer === null) {
    writeAddress();
    announce();
  }
}

function drawCharts() {
  const top = Chart.top(panels.map((panel) => panel.replay), state.chart);
  for (const panel of panels) panel.chart.draw(panel.replay, state.chart, mostSteps(), top);
}

function drawLegend() {
  const replays = panels.map((panel) => panel.replay);
  const holds = {
    board: replays.some((replay) => replay.hasBoard),
    solution: replays.some((replay) => replay.solution !== null),
    remasked: replays.some((replay) => replay.steps.some((step) => step.remasked.length > 0)),
    grid: page.grid !== null,
  };
  legend.dataset.layout = holds.grid ? "grid" : "strip";
  legend.replaceChildren(...legendItems(state.colour, holds, page.entropy_most));
  // A lone grid leaves room beside it.
  if (panels.length === 1 && holds.grid) panels[0].find(".aside").append(legend);
  else byId("panels").after(legend);
}

function drawControls() {
  const most = mostSteps();
  const slider = byId("slider");
  slider.max = most;
  slider.value = state.step;
  slider.setAttribute("aria-valuetext", `step ${state.step} of ${most}`);
  slider.style.setProperty("--filled", most === 0 ? "0%" : `${(100 * state.step) / most}%`);
  byId("position").replaceChildren(element("span", { class: "word" }, "step "), `${state.step} of ${most}`);
  byId("row").value = state.rows[0];
  byId("row-back").disabled = rowNumbers.indexOf(state.rows[0]) <= 0;
  byId("row-forward").disabled = rowNumbers.indexOf(state.rows[0]) >= rowNumbers.length - 1;
  byId("row-option").hidden = rowNumbers.length < 2 || panels.length > traces.length;
  for (const group of ["colour", "chart"]) {
    for (const button of byId(group).children) button.setAttribute("aria-pressed", button.value === state[group]);
  }
  byId("speed").value = state.speed;
  byId("beside").disabled = state.rows.length >= Math.min(MOST_PANELS, rowNumbers.length);
  const play = byId("play");
  play.setAttribute("aria-label", timer === null ? "Play" : "Pause");
  play.querySelector("use").setAttribute("href", timer === null ? "#icon-play" : "#icon-pause");
  play.classList.toggle("pausing", timer !== null);
}

function announce() {
  const said = panels.map((panel) => {
    const { decided, wrong } = panel.replay.counts();
    const mistakes = panel.replay.solution === null ? "" : `, ${wrong} wrong`;
    return `${panel.trace.label}: ${decided} decided${mistakes}`;
  });
  byId("announcer").textContent = `Step ${state.step}. ${said.join(". ")}.`;
}

// ---- moving

function seek(step) {
  state.step = Math.min(Math.max(step, 0), mostSteps());
  render();
}

function moveRow(by) {
  const target = rowNumbers[rowNumbers.indexOf(state.rows[0]) + by];
  if (target !== undefined) showRows(state.rows.with(0, target));
}

function setPlaying(playing) {
  window.clearInterval(timer);
  timer = null;
  if (playing) {
    if (state.step >= mostSteps()) state.step = 0;
    timer = window.setInterval(advance, 1000 / (STEPS_A_SECOND * Number(state.speed)));
  }
  render();
}

function advance() {
  if (state.step < mostSteps()) seek(state.step + 1);
  if (state.step >= mostSteps()) setPlaying(false);
}

function change(name, value) {
  state[name] = value;
  if (name === "speed" && timer !== null) setPlaying(true);
  else render();
}

function toMistake() {
  if (firstMistake() !== null) seek(firstMistake());
}

function onKey(pressed) {
  if (pressed.altKey || pressed.ctrlKey || pressed.metaKey) return;
  const { target } = pressed;
  const key = pressed.key.length === 1 ? pressed.key.toLowerCase() : pressed.key;
  if (target.matches("select") && !["m", ",", "."].includes(key)) return;
  const far = pressed.shiftKey ? STRIDE : 1;
  const rows = rowNumbers.length > 1 && target.id !== "slider";
  const actions = {
    ArrowLeft: () => seek(state.step - far),
    ArrowRight: () => seek(state.step + far),
    ",": () => seek(state.step - 1),
    ".": () => seek(state.step + 1),
    ArrowUp: rows ? () => moveRow(-1) : undefined,
    ArrowDown: rows ? () => moveRow(1) : undefined,
    Home: () => seek(0),
    End: () => seek(mostSteps()),
    " ": target.matches("button, summary") ? undefined : () => setPlaying(timer === null),
    m: toMistake,
    Escape: () => target.blur(),
  };
  if (actions[key] === undefined) return;
  pressed.preventDefault();
  actions[key]();
}

// ---- address

function writeAddress() {
  const parts = [`row=${state.rows.join(",")}`, `step=${state.step}`, `colour=${state.colour}`];
  if (state.chart !== "margin") parts.push(`chart=${state.chart}`);
  if (state.speed !== "1") parts.push(`speed=${state.speed}`);
  const address = `#${parts.join("&")}`;
  if (window.location.hash !== address) window.history.replaceState(null, "", address);
}

// Unknown or impossible values in an address leave what is shown as it is.
function readAddress() {
  const parts = new URLSearchParams(window.location.hash.slice(1));
  const listed = (parts.get("row") ?? "").split(",").filter((part) => /^\d+$/.test(part));
  const rows = [...new Set(listed.map(Number))].filter((row) => rowNumbers.includes(row));
  if (rows.length > 0) state.rows = rows.slice(0, compares ? 1 : MOST_PANELS);
  if (/^\d+$/.test(parts.get("step") ?? "")) state.step = Number(parts.get("step"));
  for (const [name, values] of [["colour", COLOURS], ["chart", CHARTS], ["speed", SPEEDS]]) {
    const value = parts.get(name);
    if (value !== null && Object.hasOwn(values, value)) state[name] = value;
  }
}

// ---- start

function addButtons(group, values) {
  for (const [value, name] of Object.entries(values)) {
    const button = element("button", { type: "button", value, "aria-pressed": "false" }, name);
    button.addEventListener("click", () => change(group, value));
    byId(group).append(button);
  }
}

function connectControls() {
  addButtons("colour", COLOURS);
  addButtons("chart", CHARTS);
  byId("speed").append(...Object.entries(SPEEDS).map(([value, name]) => element("option", { value }, name)));
  byId("row").append(...rowChoices());
  byId("row-keys").hidden = rowNumbers.length < 2;
  byId("mistake-key").hidden = !knowsSolution;
  byId("beside").hidden = compares || rowNumbers.length < 2;
  const clicks = {
    first: () => seek(0),
    back: () => seek(state.step - 1),
    play: () => setPlaying(timer === null),
    forward: () => seek(state.step + 1),
    last: () => seek(mostSteps()),
    "row-back": () => moveRow(-1),
    "row-forward": () => moveRow(1),
    beside: () => showRows([...state.rows, rowNumbers.find((row) => !state.rows.includes(row))]),
  };
  for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
  byId("slider").addEventListener("input", (moved) => seek(Number(moved.target.value)));
  byId("row").addEventListener("change", (picked) => showRows(state.rows.with(0, Number(picked.target.value))));
  byId("speed").addEventListener("change", (picked) => change("speed", picked.target.value));
  document.addEventListener("keydown", onKey);

  // A control used with the pointer gives the keys back to the page.
  const letGo = (used) => fromPointer && (used.target.closest("button") ?? used.target).blur();
  document.addEventListener("pointerdown", () => (fromPointer = true), true);
  document.addEventListener("keydown", () => (fromPointer = false), true);
  byId("stage").addEventListener("click", (clicked) => clicked.target.closest("button") && letGo(clicked));
  byId("stage").addEventListener("change", letGo);
}

function connectBoards() {
  const holder = byId("panels");
  const onCell = (event, action) => {
    const cell = event.target.closest(".cell");
    const panel = panels.find((candidate) => candidate.root.contains(cell));
    if (cell !== null && panel !== undefined) action(panel.board, Number(cell.dataset.position));
  };
  // Pressing on a cell shows its tooltip without moving the focus there, so the arrows go on to step.
  holder.addEventListener("mousedown", (pressed) => onCell(pressed, () => pressed.preventDefault()));
  holder.addEventListener("pointerover", (moved) => onCell(moved, (board, position) => tooltip.show(board, position)));
  holder.addEventListener("pointerleave", () => tooltip.hide());
  holder.addEventListener("focusout", () => tooltip.hide());
  new ResizeObserver(drawCharts).observe(holder);
}

async function start() {
  byId("heading").textContent = page.heading;
  byId("subtitle").textContent = page.subtitle;
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old to unpack the page");
  byId("stage").hidden = false;
  connectControls();
  connectBoards();
  readAddress();
  await showRows(state.rows);
  window.addEventListener("hashchange", () => {
    readAddress();
    showRows(state.rows);
  });
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  byId("notice").textContent = `The replay cannot be shown: ${error.message}`;
  byId("notice").hidden = false;
  throw error;
});
