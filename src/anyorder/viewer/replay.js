// One row of a trace, unpacked, and its state after any number of steps.
// Frame k is the state after k steps: frame 0 is the canvas as given, the last frame the result.

const GIVEN = 0;
const DECIDED = 1;
const UNDECIDED = 2;
const PADDING = 3;
const EVENT_FIELDS = 6; // position, token, log-probability, probability, margin, entropy
const BOARD_UNIT = 1000; // board figures are stored in thousandths

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

class Replay {
  static async open(row) {
    return new Replay(row, await inflate(row.data));
  }

  constructor(row, data) {
    this.row = row.row;
    this.finish = row.finish_reason;
    this.length = data.tokens.length;
    this.startTokens = data.tokens;
    this.startState = Array.from(data.state, Number);
    this.solution = data.solution;
    this.steps = data.steps.map(([nfe, flat, remasked], index) => {
      const events = [];
      for (let at = 0; at < flat.length; at += EVENT_FIELDS) {
        const [position, token, logProbability, probability, margin, entropy] = flat.slice(at, at + EVENT_FIELDS);
        events.push({ frame: index + 1, position, token, logProbability, probability, margin, entropy });
      }
      return { nfe, events, remasked, board: null };
    });
    this.frames = this.steps.length;
    this.unknown = this.startState.filter((state) => state === UNDECIDED || state === DECIDED).length;
    this.reset();
    this.unpackBoards(data.steps.map((step) => step[3]));
    this.hasBoard = this.steps.some((step) => step.board !== null);
    this.firstMistake = this.findFirstMistake();
    this.reset();
  }

  reset() {
    this.frame = 0;
    this.tokens = this.startTokens.slice();
    this.state = this.startState.slice();
    this.event = new Array(this.length).fill(null);
    this.taken = new Set();
    this.fresh = new Set();
  }

  seek(frame) {
    if (frame < this.frame) this.reset();
    while (this.frame < frame) this.advance();
  }

  advance() {
    const step = this.steps[this.frame];
    this.taken = new Set();
    this.fresh = new Set();
    for (const position of step.remasked) {
      this.state[position] = UNDECIDED;
      this.event[position] = null;
      this.taken.add(position);
    }
    for (const event of step.events) {
      this.tokens[event.position] = event.token;
      this.state[event.position] = DECIDED;
      this.event[event.position] = event;
      this.fresh.add(event.position);
    }
    this.frame += 1;
  }

  // A board is stored as the differences to the last figures seen at each position, for all undecided
  // positions in ascending order unless the positions are written out.
  unpackBoards(packed) {
    const last = Array.from({ length: 4 }, () => new Int32Array(this.length));
    packed.forEach((board, index) => {
      this.seek(index);
      if (board === null) return;
      const [listed, ...fields] = board;
      const positions = listed === 0 ? this.undecidedPositions() : listed;
      const figures = new Map();
      positions.forEach((position, at) => {
        const [token, probability, margin, entropy] = fields.map((field, name) => (last[name][position] += field[at]));
        figures.set(position, {
          token,
          probability: probability / BOARD_UNIT,
          margin: margin / BOARD_UNIT,
          entropy: entropy / BOARD_UNIT,
        });
      });
      this.steps[index].board = figures;
    });
  }

  undecidedPositions() {
    const found = [];
    for (let position = 0; position < this.length; position += 1) {
      if (this.state[position] === UNDECIDED) found.push(position);
    }
    return found;
  }

  findFirstMistake() {
    if (this.solution === null) return null;
    for (const [index, step] of this.steps.entries()) {
      const wrong = step.events.filter((event) => event.token !== this.solution[event.position]);
      if (wrong.length > 0) return { frame: index + 1, positions: new Set(wrong.map((event) => event.position)) };
    }
    return null;
  }

  // What the network says of the state that is shown: the board of the next step, looking past steps
  // that changed nothing (a random schedule may reveal none).
  currentBoard() {
    for (let index = this.frame; index < this.frames; index += 1) {
      const step = this.steps[index];
      if (step.board !== null) return step.board;
      if (step.events.length > 0 || step.remasked.length > 0) return null;
    }
    return null;
  }

  evaluations() {
    return this.frame === 0 ? 0 : this.steps[this.frame - 1].nfe;
  }

  counts() {
    let decided = 0;
    let wrong = 0;
    for (let position = 0; position < this.length; position += 1) {
      if (this.state[position] !== DECIDED) continue;
      decided += 1;
      if (this.isWrong(position)) wrong += 1;
    }
    return { decided, wrong, undecided: this.unknown - decided };
  }

  isWrong(position) {
    return (
      this.solution !== null && this.state[position] === DECIDED && this.tokens[position] !== this.solution[position]
    );
  }

  // Everything the page shows of one position.
  view(position, board) {
    const state = this.state[position];
    const wrong = this.isWrong(position);
    return {
      position,
      state,
      token: this.tokens[position],
      event: this.event[position],
      guess: state === UNDECIDED && board !== null ? board.get(position) ?? null : null,
      solution: this.solution === null ? null : this.solution[position],
      wrong,
      first:
        wrong && this.event[position]?.frame === this.firstMistake.frame && this.firstMistake.positions.has(position),
      fresh: this.fresh.has(position),
      taken: this.taken.has(position) && state === UNDECIDED,
    };
  }
}
