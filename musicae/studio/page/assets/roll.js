// A piano roll: bars and beats, notes shaded by velocity, a cursor that moves, bars that can be marked.

import { colour } from "./dom.js";

const COLOURS = ["--accent", "--second"];
const DRUM_NAMES = { 35: "kick", 36: "kick", 38: "snare", 40: "snare", 37: "stick", 42: "hat", 44: "pedal", 46: "open", 43: "tom", 45: "tom", 47: "tom", 48: "tom", 50: "tom", 41: "tom", 49: "crash", 51: "ride", 53: "bell", 57: "crash" };


export function sized(canvas) {
  const scale = window.devicePixelRatio || 1;
  const box = canvas.getBoundingClientRect();
  const width = Math.max(1, Math.round(box.width * scale)), height = Math.max(1, Math.round(box.height * scale));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  return { context, width: box.width, height: box.height };
}

/** Draws the notes of a piece; returns what a second is in pixels. */
export function drawNotes(canvas, piece, { small = false, marked = null } = {}) {
  const { context, width, height } = sized(canvas);
  const left = small ? 0 : 34, top = small ? 0 : 16;
  const length = Math.max(piece.duration_s, 0.1), second = (width - left) / length;
  const pitched = piece.tracks.flatMap((track) => (track.drums ? [] : track.notes));
  const drums = piece.tracks.filter((track) => track.drums).flatMap((track) => track.notes);
  const kinds = [...new Set(drums.map((note) => note[2]))].sort((a, b) => b - a);
  const pitches = pitched.map((note) => note[2]);
  const low = pitched.length ? Math.min(...pitches) - 1 : 0, high = pitched.length ? Math.max(...pitches) + 1 : 0;
  const drumShare = !kinds.length ? 0 : pitched.length ? 0.32 : 1;
  const drumsTop = top + (height - top) * (1 - drumShare);
  const row = pitched.length ? (drumsTop - top - 2) / (high - low + 1) : 0, lane = kinds.length ? (height - drumsTop) / kinds.length : 0;
  if (!small) {
    if (marked) {
      const [first, last] = marked.map((bar) => piece.bar_lines[Math.min(Math.max(0, bar), piece.bar_lines.length - 1)]);
      context.fillStyle = colour("--grid");
      context.fillRect(left + first * second, 0, (last - first) * second, height);
    }
    context.strokeStyle = colour("--line");
    context.fillStyle = colour("--soft");
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1;
    const everyLabel = Math.ceil(34 / Math.max(1, ((piece.bar_lines[1] ?? length) - (piece.bar_lines[0] ?? 0)) * second));
    piece.bar_lines.forEach((line, bar) => {
      const x = Math.round(left + line * second) + 0.5;
      context.globalAlpha = 1;
      context.beginPath(); context.moveTo(x, 0); context.lineTo(x, height); context.stroke();
      const next = piece.bar_lines[bar + 1];
      if (next === undefined) return;
      if (bar % everyLabel === 0) context.fillText(String(bar + 1), x + 3, 11);
      context.globalAlpha = 0.35;
      for (let beat = 1; beat < piece.beats_per_bar && ((next - line) * second) / piece.beats_per_bar > 6; beat += 1) {
        const place = Math.round(left + (line + ((next - line) * beat) / piece.beats_per_bar) * second) + 0.5;
        context.beginPath(); context.moveTo(place, top); context.lineTo(place, height); context.stroke();
      }
      context.globalAlpha = 1;
    });
    for (let pitch = low; pitched.length && pitch <= high; pitch += 1) {
      if (pitch % 12 === 0) context.fillText(`C${pitch / 12 - 1}`, 4, top + (high - pitch + 1) * row);
    }
    kinds.forEach((kind, number) => lane > 9 && context.fillText(DRUM_NAMES[kind] ?? kind, 2, drumsTop + (number + 0.75) * lane, 31));
  }
  let shade = 0;
  for (const track of piece.tracks) {
    context.fillStyle = colour(COLOURS[shade % COLOURS.length]);
    if (!track.drums) shade += 1;
    for (const [start, end, pitch, velocity] of track.notes) {
      context.globalAlpha = 0.3 + (0.7 * velocity) / 127;
      const x = left + start * second;
      if (track.drums) {
        context.fillRect(x, drumsTop + kinds.indexOf(pitch) * lane + lane * 0.15, Math.max(2, Math.min(7, second * 0.1)), Math.max(1, lane * 0.7));
      } else {
        context.fillRect(x, top + (high - pitch) * row, Math.max(1.5, (end - start) * second - 1), Math.max(1.2, row - 1));
      }
    }
  }
  context.globalAlpha = 1;
  return { left, second };
}

export class Roll {
  #canvas = document.createElement("canvas");
  #layer = document.createElement("canvas");
  #drawn = { left: 0, second: 1 };
  #piece = null;
  #player;
  marked = null; // [first, end) bars from 0

  constructor(parent, player, { onMark = null } = {}) {
    this.#player = player;
    parent.append(this.#canvas, this.#layer);
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", "Piano roll, empty");
    Object.assign(this.#layer.style, { position: "absolute", inset: "0", pointerEvents: "none", height: "100%" });
    this.#layer.setAttribute("aria-hidden", "true");
    new ResizeObserver(() => this.draw()).observe(parent);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    let from = null;
    const bar = (event) => {
      const second = (event.offsetX - this.#drawn.left) / this.#drawn.second;
      const after = this.#piece.bar_lines.findIndex((line) => line > second);
      return Math.max(0, (after < 0 ? this.#piece.bar_lines.length - 1 : after) - 1);
    };
    this.#canvas.addEventListener("pointerdown", (event) => { if (this.#piece) from = { bar: bar(event), x: event.offsetX }; });
    this.#canvas.addEventListener("pointermove", (event) => {
      if (!from || !onMark || Math.abs(event.offsetX - from.x) < 6) return;
      const here = bar(event);
      this.marked = [Math.min(from.bar, here), Math.max(from.bar, here) + 1];
      onMark(this.marked);
      this.draw();
    });
    this.#canvas.addEventListener("pointerup", (event) => {
      if (from && Math.abs(event.offsetX - from.x) < 6) player.seek((event.offsetX - this.#drawn.left) / this.#drawn.second);
      from = null;
    });
    const turn = () => { this.#cursor(); requestAnimationFrame(turn); };
    requestAnimationFrame(turn);
  }

  show(piece, title = piece.name) {
    this.#piece = piece;
    const notes = piece.tracks.reduce((sum, track) => sum + track.notes.length, 0);
    this.#canvas.setAttribute("aria-label", `Piano roll of ${title}: ${piece.bars} bars, ${notes} notes`);
    this.draw();
  }

  clear() {
    this.#piece = null;
    this.#canvas.setAttribute("aria-label", "Piano roll, empty");
    sized(this.#canvas);
  }

  mark(bars) { this.marked = bars; this.draw(); }

  draw() {
    if (this.#piece && this.#canvas.offsetParent) this.#drawn = drawNotes(this.#canvas, this.#piece, { marked: this.marked });
  }

  #cursor() {
    if (!this.#canvas.offsetParent) return;
    const { context, height } = sized(this.#layer);
    if (!this.#piece || this.#player.piece !== this.#piece) return;
    const x = this.#drawn.left + (this.#player.position % Math.max(0.01, this.#piece.duration_s)) * this.#drawn.second;
    context.fillStyle = colour("--ink");
    context.fillRect(x - 1, 0, 2, height);
  }
}
