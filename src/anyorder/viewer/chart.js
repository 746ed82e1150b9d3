// The statistic of the revealed positions against the step, under the board.

const SVG = "http://www.w3.org/2000/svg";
const CHART_HEIGHT = 142;
const CHART_EDGE = { left: 34, right: 10, top: 20, bottom: 22 };
const LEAST_ENTROPY = 0.5; // nats; an axis of smaller values would make noise look large
const DENSE = 250; // events from which the dots are drawn smaller

const CHART_NAMES = {
  margin: "margin",
  probability: "probability",
  entropy: "entropy, nats",
};

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function niceStep(most, wanted) {
  const rough = Math.max(most / wanted, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}

class Chart {
  constructor(holder, seek) {
    this.caption = holder.querySelector("figcaption");
    this.plot = holder.querySelector(".plot");
    this.seek = seek;
    this.key = "";
    const move = (moved) => {
      if (moved.buttons !== 1 && moved.type !== "pointerdown") return;
      const left = moved.clientX - this.plot.getBoundingClientRect().left;
      this.seek(Math.round(((left - CHART_EDGE.left) / this.innerWidth) * this.most));
    };
    this.plot.addEventListener("pointerdown", move);
    this.plot.addEventListener("pointermove", move);
  }

  // Draws the curve when what it shows has changed, and moves the cursor in any case.
  // most: the steps of the longest row shown; top: the largest value of the axis.
  draw(replay, name, most, top) {
    const width = this.plot.clientWidth;
    if (width === 0) return;
    const key = [name, most, top, width].join("|");
    if (this.key !== key || this.replay !== replay) {
      this.key = key;
      this.replay = replay;
      this.most = Math.max(most, 1);
      this.top = top;
      this.innerWidth = width - CHART_EDGE.left - CHART_EDGE.right;
      this.build(replay, name, width);
    }
    const at = this.x(replay.frame);
    this.cursor.setAttribute("x1", at);
    this.cursor.setAttribute("x2", at);
    this.veil.setAttribute("x", at);
    this.veil.setAttribute("width", Math.max(width - CHART_EDGE.right - at + 5, 0));
  }

  // The largest value of the axis that fits all the rows shown.
  static top(replays, name) {
    if (name !== "entropy") return 1;
    const values = replays.flatMap((replay) => replay.steps.flatMap((step) => step.events.map((event) => event.entropy)));
    return Math.ceil(10 * values.reduce((most, value) => Math.max(most, value ?? 0), LEAST_ENTROPY)) / 10;
  }

  x(frame) {
    return CHART_EDGE.left + (this.innerWidth * frame) / this.most;
  }

  y(value) {
    const share = Math.min(Math.max(value / this.top, 0), 1);
    return CHART_EDGE.top + (CHART_HEIGHT - CHART_EDGE.top - CHART_EDGE.bottom) * (1 - share);
  }

  axes(width) {
    const made = [];
    for (const value of [0, this.top / 2, this.top]) {
      const height = this.y(value);
      made.push(drawn("line", { class: "rule", x1: CHART_EDGE.left, x2: width - CHART_EDGE.right, y1: height, y2: height }));
      const text = drawn("text", { class: "tick", x: CHART_EDGE.left - 6, y: height + 3.5, "text-anchor": "end" });
      text.textContent = String(Number(value.toPrecision(2)));
      made.push(text);
    }
    const step = niceStep(this.most, Math.max(this.innerWidth / 70, 2));
    for (let frame = 0; frame <= this.most; frame += step) {
      const text = drawn("text", { class: "tick", x: this.x(frame), y: CHART_HEIGHT - 6, "text-anchor": "middle" });
      text.textContent = String(frame);
      made.push(text);
    }
    return made;
  }

  build(replay, name, width) {
    const events = replay.steps.flatMap((step) => step.events).filter((event) => event[name] !== null);
    const size = events.length > DENSE ? 1.6 : 2.6;
    const right = [];
    const wrong = [];
    for (const event of events) {
      const x = this.x(event.frame).toFixed(1);
      const y = this.y(event[name]);
      if (replay.solution !== null && event.token !== replay.solution[event.position]) {
        const arm = size + 1.4;
        wrong.push(`M${x} ${y.toFixed(1)}m${-arm} ${-arm}l${2 * arm} ${2 * arm}m0 ${-2 * arm}l${-2 * arm} ${2 * arm}`);
      } else {
        right.push(`M${x} ${y.toFixed(1)}m${-size} 0a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0`);
      }
    }
    const least = replay.steps.flatMap((step, index) => {
      const values = step.events.map((event) => event[name]).filter((value) => value !== null);
      if (values.length === 0) return [];
      return [[index + 1, name === "entropy" ? Math.max(...values) : Math.min(...values)]];
    });
    const line = least.map(([frame, value]) => `${this.x(frame).toFixed(1)},${this.y(value).toFixed(1)}`).join(" ");
    this.cursor = drawn("line", { class: "cursor", y1: CHART_EDGE.top - 5, y2: CHART_HEIGHT - CHART_EDGE.bottom + 4 });
    this.veil = drawn("rect", { class: "veil", y: CHART_EDGE.top - 6, height: CHART_HEIGHT - CHART_EDGE.top - CHART_EDGE.bottom + 11 });
    const svg = drawn(
      "svg",
      { viewBox: `0 0 ${width} ${CHART_HEIGHT}`, width, height: CHART_HEIGHT, role: "img" },
      ...this.axes(width),
      drawn("polyline", { class: "curve", points: line }),
      drawn("path", { class: "right", d: right.join("") }),
      drawn("path", { class: "wrong", d: wrong.join("") }),
      this.veil,
      this.cursor,
    );
    if (replay.firstMistake !== null) {
      svg.insertBefore(this.mistakeMark(replay.firstMistake.frame, width), this.veil);
    }
    const many = replay.steps.some((step) => step.events.length > 1);
    const worst = name === "entropy" ? "highest" : "lowest";
    this.caption.textContent = `${CHART_NAMES[name]} of each decision${many ? `; line: ${worst}` : ""}`;
    svg.setAttribute("aria-label", this.describe(replay, name, least));
    this.plot.replaceChildren(svg);
  }

  // The words stand above the axes, where nothing else is drawn.
  mistakeMark(frame, width) {
    const at = this.x(frame);
    const nearRight = at > width - 96;
    const text = drawn("text", {
      class: "mistake-name",
      x: nearRight ? at - 5 : at + 5,
      y: CHART_EDGE.top - 8,
      "text-anchor": nearRight ? "end" : "start",
    });
    text.textContent = "first mistake";
    const mark = { class: "mistake-mark", x1: at, x2: at, y1: CHART_EDGE.top - 18, y2: CHART_HEIGHT - CHART_EDGE.bottom };
    return drawn("g", {}, drawn("line", mark), text);
  }

  describe(replay, name, least) {
    if (least.length === 0) return `No position was revealed in ${replay.frames} steps.`;
    const values = least.map(([, value]) => value);
    const mistake = replay.firstMistake === null ? "" : ` First mistake at step ${replay.firstMistake.frame}.`;
    const range = `between ${figure(Math.min(...values))} and ${figure(Math.max(...values))}`;
    return `${CHART_NAMES[name]} of what was revealed, over ${replay.frames} steps: ${range}.${mistake}`;
  }
}
