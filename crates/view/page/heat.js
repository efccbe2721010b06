// When how much was going on, and which part of the time is looked at.

import * as colour from "./colour.js";
import { figure, seconds } from "./format.js";

const STRIP = 44;
const CELL_MIN = 2;
const CELL_MAX = 7;

export class Heat {
  #canvas;
  #told;
  #cells;
  #unit;
  #window;
  #from;
  #at = 0;

  /** `told` has what is done when a cell is pointed at, and when a window is picked. */
  constructor(canvas, told) {
    this.#canvas = canvas;
    this.#told = told;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#from = this.#cellOf(event);
      this.#go(this.#from);
    });
    canvas.addEventListener("pointermove", (event) => this.#go(this.#cellOf(event)));
    canvas.addEventListener("pointerup", (event) => {
      if (this.#from !== undefined) {
        this.#pick(this.#from, this.#cellOf(event));
      }
    });
    canvas.addEventListener("pointercancel", () => {
      this.#from = undefined;
      this.draw();
    });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    // Later: what is drawn may itself change sizes.
    new ResizeObserver(() => requestAnimationFrame(() => this.draw())).observe(canvas.parentElement);
    colour.whenChanged(() => this.draw());
  }

  show(cells, unit, from, to) {
    this.#cells = cells;
    this.#unit = unit;
    this.#window = from === undefined ? undefined : [Number(from), Number(to)];
    const most = cells.cells.reduce((most, cell) => Math.max(most, cell), 0);
    this.#canvas.setAttribute(
      "aria-label",
      `${seconds(cells.cells.length * cells.cell_ns)} seconds in cells of ${figure(cells.cell_ns, "nanoseconds")}, ` +
        `at most ${figure(most, unit)} in one. Arrows move, Enter begins and ends a window, Escape shows all.`,
    );
    this.draw();
  }

  #size() {
    const { rows } = this.#cells;
    const width = this.#canvas.parentElement.clientWidth - 24;
    const each = Math.min(CELL_MAX, Math.max(CELL_MIN, width / 200));
    return { width, height: rows === 1 ? STRIP : Math.round(rows * Math.min(each, 3)) };
  }

  draw() {
    if (!this.#cells || this.#canvas.hidden) {
      return;
    }
    const { rows, columns, cells, cell_ns: cell } = this.#cells;
    const { width, height } = this.#size();
    const dots = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * dots);
    this.#canvas.height = Math.round(height * dots);
    this.#canvas.style.height = `${height}px`;
    const context = this.#canvas.getContext("2d");
    const [wide, high] = [this.#canvas.width / columns, this.#canvas.height / rows];
    const most = cells.reduce((most, weight) => Math.max(most, weight), 1);
    const shades = Array.from({ length: 65 }, (_, step) => colour.ofHeat(step / 64));
    const picked = this.#picked();
    for (const [at, weight] of cells.entries()) {
      const isPicked = !picked || (at * cell < picked[1] && (at + 1) * cell > picked[0]);
      context.globalAlpha = isPicked ? 1 : 0.3;
      context.fillStyle = shades[Math.ceil((weight / most) * 64)];
      const [column, row] = [Math.floor(at / rows), at % rows];
      // On whole dots, so that boxes meet without a seam.
      const [left, right] = [Math.floor(column * wide), Math.floor((column + 1) * wide)];
      const [top, bottom] = [Math.floor(row * high), Math.floor((row + 1) * high)];
      const gap = wide > 8 * dots ? dots : 0;
      context.fillRect(left, top, Math.max(right - left - gap, 1), Math.max(bottom - top, 1));
    }
    context.globalAlpha = 1;
    context.strokeStyle = colour.named("ink");
    context.lineWidth = dots;
    if (document.activeElement === this.#canvas || this.#from !== undefined) {
      const [x, y] = [Math.floor(this.#at / rows) * wide, (this.#at % rows) * high];
      context.strokeRect(x, y, Math.max(wide, 3), Math.max(high, 3));
    }
  }

  /** What is being picked, or is picked. */
  #picked() {
    return this.#from === undefined ? this.#window : this.#between(this.#from, this.#at);
  }

  #between(one, other) {
    const { cell_ns: cell } = this.#cells;
    return [Math.min(one, other) * cell, (Math.max(one, other) + 1) * cell];
  }

  #cellOf(event) {
    const { rows, columns } = this.#cells;
    const box = this.#canvas.getBoundingClientRect();
    const inside = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const column = inside((event.clientX - box.left) / box.width, columns);
    return column * rows + inside((event.clientY - box.top) / box.height, rows);
  }

  #go(cell) {
    const { cells, cell_ns: length } = this.#cells;
    this.#at = Math.min(cells.length - 1, Math.max(0, cell));
    const from = seconds(this.#at * length);
    this.#told.point(`at ${from} s: ${figure(cells[this.#at], this.#unit)}`);
    this.draw();
  }

  #pick(one, other) {
    this.#from = undefined;
    this.#told.pick(...this.#between(one, other).map((time) => String(Math.round(time))));
  }

  #key(event) {
    const { rows } = this.#cells;
    const step = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -rows, ArrowRight: rows }[event.key];
    if (step !== undefined) {
      this.#go(this.#at + step);
    } else if (event.key === "Enter" && this.#from === undefined) {
      this.#from = this.#at;
      this.draw();
    } else if (event.key === "Enter") {
      this.#pick(this.#from, this.#at);
    } else if (event.key === "Escape") {
      this.#from = undefined;
      this.#told.pick(undefined, undefined);
    } else {
      return;
    }
    event.preventDefault();
  }
}
