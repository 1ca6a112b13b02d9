// Map: a folder in two dimensions; and the plane of a picture model with two latent numbers.

import * as api from "./api.js";
import { $, colour, downloads, el, newest, picture, shown } from "./dom.js";
import { player } from "./player.js";
import { sized } from "./roll.js";

const WHAT = { music: "music", audio: "sounds", image: "pictures" };
const MOST = 200, NEAR = 14, STAY_MS = 120;

export class MapTab {
  #items = [];
  #points = [];
  #path = [];
  #here = -1;
  #models = [];
  #canvas = $("map-canvas");
  #drawnPlane = null;

  constructor(starters) {
    for (const id of ["map-folder", "map-files"]) {
      $(id).addEventListener("change", () => this.#take([...$(id).files]));
    }
    $("map-starters").addEventListener("click", () => { this.#make(starters().filter((item) => item.kind === "music"), false); });
    for (const id of ["map-model", "map-method"]) $(id).addEventListener("change", () => this.#items.length && this.#make(this.#items));
    new ResizeObserver(() => this.draw()).observe(this.#canvas);
    this.#canvas.addEventListener("pointermove", (event) => this.#over(event));
    this.#canvas.addEventListener("pointerdown", (event) => { this.#path = []; this.#canvas.setPointerCapture(event.pointerId); this.#over(event); });
    this.#canvas.addEventListener("pointerup", () => this.#follow());
    this.#canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step || !this.#points.length) return;
      event.preventDefault();
      this.#hear((this.#here + step + this.#points.length) % this.#points.length);
    });
  }

  setModels(models) {
    this.#models = models;
  }

  async #take(files) {
    await shown("map-error", async () => {
      const known = files.filter((file) => /\.(mid|midi|kar|rmi|abc|wav|flac|ogg|mp3|png|jpe?g)$/i.test(file.name)).slice(0, MOST);
      if (!known.length) throw new Error("None of these files is music, sound or a picture.");
      const items = [];
      let refused = 0;
      for (const [number, file] of known.entries()) {
        $("map-said").textContent = `reading ${number + 1} of ${known.length} …`;
        try { items.push(await api.upload(file)); } catch (error) { if (error.status !== 422) throw error; refused += 1; }
      }
      $("map-said").textContent = refused ? `${refused} could not be read.` : "";
      if (!items.length) throw new Error("None of these files could be read.");
      await this.#make(items);
    });
  }

  async #make(items, eachFile = items.length > 3) {
    const { domain } = this.#models.find((each) => each.name === $("map-model").value) ?? {};
    const fitting = items.filter((item) => item.kind === domain);
    const found = await shown("map-error", async () => {
      if (!fitting.length) throw new Error(`${$("map-model").value} maps ${WHAT[domain] ?? "other files"}; choose another model.`);
      return api.compute("map", { model: $("map-model").value, items: fitting.map((item) => item.id), method: $("map-method").value, each_file: eachFile });
    });
    this.#items = items;
    this.#points = found?.points ?? []; // what doesn't belong to these files goes
    this.#path = [];
    this.#here = -1;
    if (!found) { $("map-said").textContent = ""; this.#canvas.setAttribute("aria-label", "Map, empty"); this.draw(); return; }
    const text = eachFile ? `${found.points.length} of ${items.length} files` : `${found.points.length} windows of ${items.length} files`;
    this.#canvas.setAttribute("aria-label", `Map of ${text}; arrow keys go from one to the next`);
    $("map-said").textContent = text + (found.remarks.length ? `; ${found.remarks.join("; ")}` : "");
    this.draw();
  }

  #places() {
    const xs = this.#points.map((point) => point.x), ys = this.#points.map((point) => point.y);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const { width, height } = this.#canvas.getBoundingClientRect();
    return this.#points.map((point) => [
      24 + ((point.x - left) / (right - left || 1)) * (width - 48), height - 24 - ((point.y - low) / (high - low || 1)) * (height - 48),
    ]);
  }

  draw() {
    if (!this.#canvas.offsetParent) return;
    const { context } = sized(this.#canvas);
    const places = this.#places();
    context.strokeStyle = colour("--line");
    context.lineWidth = 3;
    context.beginPath();
    this.#path.forEach((number, place) => context[place ? "lineTo" : "moveTo"](...places[number]));
    context.stroke();
    const files = [...new Set(this.#points.map((point) => point.id))];
    places.forEach(([x, y], number) => {
      context.fillStyle = colour(files.indexOf(this.#points[number].id) % 2 ? "--second" : "--accent");
      context.globalAlpha = number === this.#here ? 1 : 0.75;
      context.beginPath();
      context.arc(x, y, number === this.#here ? 8 : 5, 0, 7);
      context.fill();
    });
    context.globalAlpha = 1;
    if (this.#here >= 0) {
      const [x, y] = places[this.#here];
      context.fillStyle = colour("--ink");
      context.font = "13px system-ui, sans-serif";
      const text = this.#said(this.#here);
      const wide = context.measureText(text).width;
      context.fillText(text, Math.min(x + 12, this.#canvas.clientWidth - wide - 8), Math.max(14, y - 8));
    }
  }

  #over(event) {
    if (!this.#points.length) return;
    const places = this.#places();
    let near = -1, least = NEAR;
    places.forEach(([x, y], number) => {
      const away = Math.hypot(x - event.offsetX, y - event.offsetY);
      if (away < least) { least = away; near = number; }
    });
    if (near < 0) return;
    if (event.buttons && this.#path.at(-1) !== near) { this.#path.push(near); this.draw(); }
    if (near !== this.#here) { this.#here = near; this.draw(); clearTimeout(this.waiting); this.waiting = setTimeout(() => this.#hear(near), STAY_MS); }
  }

  #item(number) {
    return this.#items.find((item) => item.id === this.#points[number].id);
  }

  #said(number) {
    const { window, bar } = this.#points[number], { name } = this.#item(number);
    return bar ? `${name}, bar ${bar}` : window ? `${name}, part ${window}` : name;
  }

  #hear = newest(async (number) => {
    this.#here = number;
    this.draw();
    const item = this.#item(number), point = this.#points[number];
    $("map-said").textContent = this.#said(number);
    downloads($("map-downloads"), item, "map-error");
    await shown("map-error", () => this.#play(item, point.bar));
  });

  async #play(item, bar) {
    if (item.kind === "music") {
      player.swap(bar ? stretch(item, bar - 1) : item, { restart: true });
      await player.play();
    } else if (item.kind === "image") {
      await this.#hold(item);
    } else {
      const output = await player.output();
      const source = player.context.createBufferSource();
      source.buffer = await player.context.decodeAudioData(await (await api.file(item.id, "wav")).arrayBuffer());
      source.connect(output);
      player.pause();
      this.pause();
      this.sounding = source;
      source.onended = () => { if (this.sounding === source) this.pause(); };
      source.start();
      player.dispatchEvent(new Event("change"));
    }
  }

  /** A path that was drawn: what it passes, one after the other. */
  #follow() {
    const passed = this.#path.map((number) => [this.#item(number), this.#points[number].bar]).filter(([item]) => item.kind === "music");
    if (passed.length < 2) return;
    const pieces = passed.map(([item, bar]) => stretch(item, (bar ?? 1) - 1));
    clearTimeout(this.waiting);
    shown("map-error", async () => { player.swap(inRow(pieces), { restart: true }); await player.play(); });
  }

  /** Shows a picture, large, with its downloads. */
  async #hold(item) {
    downloads($("map-downloads"), item, "map-error");
    const shownLarge = picture(await api.file(item.id, "png"), item.name);
    shownLarge.className = "large";
    $("map-downloads").prepend(shownLarge);
  }

  async #plane() {
    const model = this.#models.find((each) => each.can.includes("grid"));
    if (!model || this.#drawnPlane === model.name) return;
    this.#drawnPlane = model.name;
    const found = await shown("map-error", () => api.compute("grid", { model: model.name, side: 12 }));
    if (!found) return;
    const plane = $("map-plane");
    plane.hidden = false;
    plane.style.gridTemplateColumns = `repeat(${found.side}, 1fr)`;
    plane.replaceChildren();
    for (const item of found.items) {
      const button = el("button", {}, picture(await api.file(item.id, "png"), item.name));
      button.addEventListener("click", () => this.#hold(item));
      plane.append(button);
    }
  }

  get playing() { return Boolean(this.sounding); }

  pause() {
    this.sounding?.stop();
    this.sounding = null;
    player.dispatchEvent(new Event("change"));
  }

  leave() { clearTimeout(this.waiting); this.pause(); }
  enter() { requestAnimationFrame(() => this.draw()); this.#plane(); }
  state() { return { method: $("map-method").value, model: $("map-model").value }; }
  async restore(state) { if (state.method) $("map-method").value = state.method; }
}

/** Two bars of a piece, as a piece. */
function stretch(piece, bar) {
  const first = piece.bar_lines[bar] ?? 0, last = piece.bar_lines[Math.min(bar + 2, piece.bar_lines.length - 1)] ?? piece.duration_s;
  const cut = (track) => track.notes.filter((note) => note[0] >= first - 1e-4 && note[0] < last - 1e-4).map(([start, end, pitch, velocity]) => [start - first, Math.min(end, last) - first, pitch, velocity]);
  return {
    ...piece, duration_s: last - first, bars: 2, bar_lines: piece.bar_lines.filter((line) => line >= first && line <= last).map((line) => line - first),
    tracks: piece.tracks.map((track) => ({ ...track, notes: cut(track) })),
  };
}

function inRow(pieces) {
  const whole = { ...pieces[0], name: "path", tracks: [], bar_lines: [], duration_s: 0, bars: 0 };
  for (const piece of pieces) {
    for (const track of piece.tracks) {
      let own = whole.tracks.find((each) => each.name === track.name && each.drums === track.drums);
      if (!own) { own = { ...track, notes: [] }; whole.tracks.push(own); }
      own.notes.push(...track.notes.map(([start, end, pitch, velocity]) => [start + whole.duration_s, end + whole.duration_s, pitch, velocity]));
    }
    whole.bar_lines.push(...piece.bar_lines.slice(0, -1).map((line) => line + whole.duration_s));
    whole.duration_s += piece.duration_s;
    whole.bars += piece.bars;
  }
  whole.bar_lines.push(whole.duration_s);
  return whole;
}
