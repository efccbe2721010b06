// The picture: calls as boxes, each as wide as it weighs, its callees beside each other next to it.

import * as colour from "./colour.js";

const ROW = 19;
const FONT = "11.5px ui-monospace, 'DejaVu Sans Mono', monospace";
/** What is narrower is not drawn, and nothing that it called either. */
const WIDTH_MIN = 0.5;
const TEXT_WIDTH_MIN = 26;

export class Flame {
  #scroller;
  #spacer;
  #canvas;
  #context;
  #told;
  #shown;
  #rows = [];
  #width = 0;
  #letter = 7;
  #pointed;
  #isAsked = false;
  /** How far the root is scrolled away: it stays where it is when there is more or less room. */
  #fromRoot = 0;

  /** `told` has what is done when a call is pointed at, zoomed to or asked about. */
  constructor(scroller, told) {
    this.#scroller = scroller;
    this.#spacer = scroller.querySelector("#spacer");
    this.#canvas = scroller.querySelector("#canvas");
    this.#context = this.#canvas.getContext("2d");
    this.#told = told;
    this.#canvas.addEventListener("mousemove", (event) => this.#point(this.#at(event)));
    this.#canvas.addEventListener("mouseleave", () => this.#point(undefined));
    this.#canvas.addEventListener("click", (event) => {
      const call = this.#at(event);
      if (call !== undefined) {
        this.#told.zoom(call);
      }
    });
    this.#canvas.addEventListener("keydown", (event) => this.#key(event));
    scroller.addEventListener("scroll", () => {
      const beyond = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
      this.#fromRoot = this.#isUpward ? beyond : scroller.scrollTop;
      this.#ask();
    });
    // Later: what is placed may itself change sizes.
    new ResizeObserver(() => requestAnimationFrame(() => this.#place())).observe(scroller);
    colour.whenChanged(() => this.#ask());
  }

  /** Shows calls. `shape` says where the root is, or that the calls stand in time. */
  show(shown) {
    const before = this.#shown;
    this.#shown = shown;
    const isOther =
      before?.tree !== shown.tree || before.zoom !== shown.zoom || before.shape !== shown.shape;
    if (isOther) {
      this.#pointed = undefined;
    }
    this.#place(isOther);
  }

  /** How many boxes there are. */
  get boxes() {
    return this.#rows.reduce((sum, row) => sum + row.length, 0);
  }

  #place(isOther) {
    const { tree } = this.#shown ?? {};
    const width = this.#scroller.clientWidth;
    if (!tree || width === 0) {
      return;
    }
    this.#width = width;
    this.#rows = this.#boxes();
    const height = Math.max(this.#rows.length * ROW, this.#scroller.clientHeight);
    this.#spacer.style.height = `${height}px`;
    this.#fromRoot = isOther ? 0 : this.#fromRoot;
    const beyond = height - this.#scroller.clientHeight - this.#fromRoot;
    this.#scroller.scrollTop = this.#isUpward ? beyond : this.#fromRoot;
    this.#draw();
  }

  get #isUpward() {
    return this.#shown?.shape === "flame";
  }

  /** Row by row: those above what is zoomed to, itself, and what is wide enough beneath it. */
  #boxes() {
    const { tree, zoom, weights } = this.#shown;
    const path = tree.path(zoom);
    const rows = path.map((call) => [{ call, x: 0, width: this.#width }]);
    const whole = tree.lasts ? tree.lasts[zoom] : weights[zoom];
    if (!(whole > 0)) {
      return rows;
    }
    const scale = this.#width / whole;
    for (;;) {
      const next = [];
      for (const { call, x } of rows.at(-1)) {
        let at = x;
        let drawnTo = -1;
        for (let child = call + 1; child < tree.end[call]; child = tree.end[child]) {
          const width = (tree.lasts ? tree.lasts[child] : weights[child]) * scale;
          const begin = tree.lasts ? (tree.begins[child] - tree.begins[zoom]) * scale : at;
          // In time, short calls are the rule: of those in the same place one is drawn.
          if (width >= WIDTH_MIN || (tree.lasts && begin >= drawnTo)) {
            next.push({ call: child, x: begin, width: Math.max(width, WIDTH_MIN) });
            drawnTo = begin + WIDTH_MIN;
          }
          at += width;
        }
      }
      if (next.length === 0) {
        return rows;
      }
      rows.push(next);
    }
  }

  #ask() {
    if (!this.#isAsked && this.#shown) {
      this.#isAsked = true;
      requestAnimationFrame(() => {
        this.#isAsked = false;
        this.#draw();
      });
    }
  }

  #top(row) {
    const height = this.#spacer.clientHeight;
    const from = this.#isUpward ? height - (row + 1) * ROW : row * ROW;
    return from - this.#scroller.scrollTop;
  }

  #draw() {
    const height = this.#scroller.clientHeight;
    if (height === 0 || this.#width === 0) {
      return;
    }
    const dots = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(this.#width * dots);
    this.#canvas.height = Math.round(height * dots);
    this.#canvas.style.width = `${this.#width}px`;
    this.#canvas.style.height = `${height}px`;
    const context = this.#context;
    context.setTransform(dots, 0, 0, dots, 0, 0);
    context.font = FONT;
    context.textBaseline = "middle";
    this.#letter = context.measureText("M").width;
    const paint = { text: colour.ofText(), mark: colour.named("mark"), onMark: colour.named("on-mark") };
    for (const [row, boxes] of this.#rows.entries()) {
      const top = this.#top(row);
      if (top > -ROW && top < height) {
        const isAbove = row < this.#shown.tree.depth[this.#shown.zoom];
        for (const box of boxes) {
          this.#box(box, top, isAbove, paint);
        }
      }
    }
    const pointed = this.#find(this.#pointed);
    if (pointed) {
      context.strokeStyle = colour.named("ink");
      context.lineWidth = 2;
      const [x, width] = [pointed.box.x + 1, Math.max(pointed.box.width - 2, 1)];
      context.strokeRect(x, this.#top(pointed.row) + 1, width, ROW - 2);
    }
  }

  #box({ call, x, width }, top, isAbove, paint) {
    const { tree, matching } = this.#shown;
    const context = this.#context;
    const name = tree.nameOf(call);
    const isMatch = matching?.[tree.name[call]] === 1;
    context.globalAlpha = isAbove ? 0.6 : matching && !isMatch ? 0.4 : 1;
    context.fillStyle = isMatch ? paint.mark : this.#colour(call, name);
    // A gap tells boxes apart, unless it were most of the box.
    context.fillRect(x, top, Math.max(width - (width > 3 ? 1 : 0), WIDTH_MIN), ROW - 1);
    if (width >= TEXT_WIDTH_MIN) {
      const letters = Math.floor((width - 8) / this.#letter);
      const text = name.length > letters ? `${name.slice(0, Math.max(letters - 1, 1))}…` : name;
      context.globalAlpha = isAbove ? 0.8 : 1;
      context.fillStyle = isMatch ? paint.onMark : paint.text;
      context.fillText(text, x + 4, top + ROW / 2, width - 6);
    }
    context.globalAlpha = 1;
  }

  #colour(call, name) {
    const { tree } = this.#shown;
    if (tree.baseTotal) {
      const whole = Math.max(tree.total[0], tree.baseTotal[0]);
      return colour.ofChange(tree.total[call] - tree.baseTotal[call], whole);
    }
    return colour.ofName(name);
  }

  #at(event) {
    const y = event.offsetY;
    const boxes = this.#rows.find((_, row) => y >= this.#top(row) && y < this.#top(row) + ROW);
    const x = event.offsetX;
    return boxes?.find((box) => x >= box.x && x < box.x + box.width)?.call;
  }

  #find(call) {
    if (call === undefined || !this.#shown) {
      return undefined;
    }
    const row = this.#shown.tree.depth[call];
    const at = (this.#rows[row] ?? []).findIndex((box) => box.call === call);
    return at < 0 ? undefined : { row, at, box: this.#rows[row][at] };
  }

  #point(call) {
    if (call !== this.#pointed) {
      this.#pointed = call;
      this.#told.point(call);
      this.#ask();
    }
  }

  #key(event) {
    if (!this.#shown || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const { zoom, tree } = this.#shown;
    const from = this.#pointed ?? zoom;
    const deeper = this.#isUpward ? "ArrowUp" : "ArrowDown";
    const outer = this.#isUpward ? "ArrowDown" : "ArrowUp";
    const todo = {
      Enter: () => this.#told.zoom(from),
      Backspace: () => this.#told.zoom(tree.parent[zoom]),
      Home: () => this.#told.zoom(0),
      c: () => this.#told.calls(from),
      ArrowLeft: () => this.#step(from, -1),
      ArrowRight: () => this.#step(from, 1),
      [deeper]: () => this.#widest(from),
      [outer]: () => this.#go(tree.parent[from]),
    }[event.key];
    if (todo) {
      event.preventDefault();
      todo();
    }
  }

  #step(from, by) {
    const found = this.#find(from);
    const next = found && this.#rows[found.row][found.at + by];
    if (next) {
      this.#go(next.call);
    }
  }

  #widest(from) {
    const { tree } = this.#shown;
    const below = (this.#rows[tree.depth[from] + 1] ?? []).filter(({ call }) => tree.parent[call] === from);
    if (below.length > 0) {
      this.#go(below.reduce((widest, box) => (box.width > widest.width ? box : widest)).call);
    }
  }

  #go(call) {
    this.#point(call);
    const top = this.#top(this.#shown.tree.depth[call]);
    const beyond = Math.max(top + ROW - this.#scroller.clientHeight, 0) + Math.min(top, 0);
    if (beyond !== 0) {
      this.#scroller.scrollTop += beyond;
    }
  }
}
