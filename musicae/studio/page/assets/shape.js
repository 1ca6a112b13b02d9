// Shape: make music up, or take a file, and change it.

import * as api from "./api.js";
import { $, downloads, el, newest, shown, slot } from "./dom.js";
import { player } from "./player.js";
import { Roll, drawNotes } from "./roll.js";

const LIMIT = 2; // standard deviations to either side

export class Shape {
  #source = null; // what attributes are moved from
  #item = null; // what is shown
  #models = [];
  #roll = new Roll($("shape-roll"), player, { onMark: (bars) => { $("shape-range").value = bars[1] - bars[0] > 1 ? `${bars[0] + 1}-${bars[1]}` : `${bars[0] + 1}`; } });

  constructor() {
    this.slot = slot($("shape-slot"), "File", {
      accept: ".mid,.midi,.kar,.rmi,.abc,.musicxml,.mxl", kinds: ["music"], errorId: "shape-error", taken: (item) => this.take(item),
    });
    $("sample-go").addEventListener("click", () => this.sample());
    $("vary-go").addEventListener("click", () => this.#several("vary", $("vary-go"), {
      model: $("shift-model").value, amount: Number($("vary-amount").value), count: 4, keep: $("vary-keep").value, seed: Math.floor(Math.random() * 1e6),
    }));
    $("infill-go").addEventListener("click", () => {
      if (!$("shape-range").value.trim()) { $("shape-error").textContent = "Mark the bars to fill in: drag over them, or type them as 5-6."; return; }
      this.#several("infill", $("infill-go"), { model: this.#able("infill"), count: 3, seed: Math.floor(Math.random() * 1e6) });
    });
    $("humanize-go").addEventListener("click", () => this.#several("humanize", $("humanize-go"), { model: this.#able("humanize"), count: 3, seed: Math.floor(Math.random() * 1e6) }));
    $("shift-model").addEventListener("change", () => this.#sliders());
    $("shift-careful").addEventListener("click", () => this.#shift(true, $("shift-careful")));
    $("shift-reset").addEventListener("click", () => { this.#sliders(); if (this.#source) this.#show(this.#source); });
    $("shape-range").addEventListener("change", () => shown("shape-error", async () => {
      const bars = this.#bars();
      this.#roll.mark(bars ? [bars[0] - 1, bars[1]] : null);
    }));
  }

  setModels(models) {
    this.#models = models;
    $("humanize-go").hidden = !this.#able("humanize");
    $("infill-go").hidden = !this.#able("infill");
    if (!$("shift-sliders").children.length) this.#sliders();
  }

  #able(what) { return this.#models.find((model) => model.can.includes(what))?.name ?? null; }

  #bars() {
    const text = $("shape-range").value.trim();
    const found = text.match(/^(\d+)(?:\s*[-–]\s*(\d+))?$/);
    const bars = found ? [Number(found[1]), Number(found[2] ?? found[1])] : null;
    if (text && (!bars || bars[0] < 1 || bars[1] < bars[0])) throw new Error(`${text} are no bars; write one number, or two such as 5-6.`);
    return bars;
  }

  take(item) {
    this.#source = item;
    this.slot.show(item);
    $("shape-found").replaceChildren();
    $("shape-range").value = "";
    this.#roll.marked = null;
    this.#sliders();
    this.#show(item);
  }

  async sample() {
    const found = await shown("shape-error", () => api.compute("sample", {
      model: $("sample-model").value, count: 4, key: $("sample-key").value.trim(), chords: $("sample-chords").value.trim(),
      temperature: Number($("sample-temperature").value), seed: Number($("sample-seed").value),
    }), $("sample-go"));
    if (!found) return;
    this.slot.show(null);
    $("shape-range").value = "";
    const made = $("sample-model").value; // what it made it can move too, where it has attributes
    if ([...$("shift-model").options].some((option) => option.value === made)) $("shift-model").value = made;
    this.#strip(found.items);
  }

  async #several(what, button, body) {
    if (!this.#source) { $("shape-error").textContent = "Choose a file first, or make something up."; return; }
    const found = await shown("shape-error", async () => api.compute(what, { ...body, item: this.#source.id, bars: this.#bars() }), button);
    if (found) this.#strip(found.items, false);
  }

  #strip(items, isSource = true) {
    const strip = $("shape-found");
    strip.replaceChildren(...items.map((item) => {
      const canvas = el("canvas", { ariaHidden: "true" });
      const button = el("button", { ariaPressed: "false" }, canvas, item.name);
      button.addEventListener("click", () => {
        [...strip.children].forEach((each) => { each.ariaPressed = String(each === button); });
        if (isSource) { this.#source = item; this.#sliders(); }
        this.#show(item);
        player.play().catch((error) => { $("shape-error").textContent = error.message; });
      });
      return button;
    }));
    requestAnimationFrame(() => items.forEach((item, number) => {
      const canvas = strip.children[number]?.firstChild;
      if (canvas?.offsetParent) drawNotes(canvas, item, { small: true });
    }));
    if (isSource) { this.#source = items[0]; this.#sliders(); }
    strip.firstChild.ariaPressed = "true";
    this.#show(items[0]);
  }

  #sliders() {
    const model = this.#models.find((each) => each.name === $("shift-model").value);
    $("shift-kept").textContent = "";
    $("shift-sliders").replaceChildren(...(model?.attributes ?? []).map((attribute) => {
      const output = el("output", { textContent: "0.0" });
      const slider = el("input", { type: "range", min: -LIMIT, max: LIMIT, step: 0.1, value: 0 });
      slider.dataset.attribute = attribute;
      slider.addEventListener("input", () => { output.textContent = Number(slider.value).toFixed(1); this.#moved(); });
      return el("label", {}, attribute.replaceAll("_", " "), slider, output);
    }));
  }

  #amounts() {
    const sliders = [...$("shift-sliders").querySelectorAll("input")];
    return Object.fromEntries(sliders.filter((slider) => Number(slider.value)).map((slider) => [slider.dataset.attribute, Number(slider.value)]));
  }

  #moved = newest(() => this.#shift(false));

  async #shift(careful, button = null) {
    const amounts = this.#amounts();
    if (!this.#source) { $("shape-error").textContent = "Choose a file first, or make something up."; return; }
    if (!Object.keys(amounts).length) { this.#show(this.#source); return; }
    const found = await shown("shape-error", async () => api.compute("shift", {
      model: $("shift-model").value, item: this.#source.id, amounts, careful, bars: this.#bars(),
    }), button);
    if (!found) return;
    this.#show(found.items[0]);
    const shares = Object.entries(found.kept ?? {}).map(([aspect, share]) => `${aspect} ${Math.round(share * 100)}%`);
    $("shift-kept").textContent = shares.length ? `Kept: ${shares.join(", ")}.` : found.remarks.join("; ");
  }

  #show(item) {
    this.#item = item;
    if (!$("shape").hidden) player.swap(item); // only what is seen is heard
    this.#roll.show(item);
    downloads($("shape-downloads"), item, "shape-error");
  }

  enter() { if (this.#item) this.#show(this.#item); }

  state() {
    return {
      model: $("sample-model").value, key: $("sample-key").value, chords: $("sample-chords").value,
      temperature: $("sample-temperature").value, seed: $("sample-seed").value,
      shift: $("shift-model").value, bars: $("shape-range").value,
      ...(this.#source && { source: `${this.#source.id}~${this.#source.name}` }),
      ...Object.fromEntries(Object.entries(this.#amounts()).map(([name, amount]) => [`by.${name}`, amount])),
    };
  }

  async restore(state) {
    for (const [id, key] of [["sample-model", "model"], ["sample-key", "key"], ["sample-chords", "chords"], ["sample-temperature", "temperature"], ["sample-seed", "seed"]]) {
      if (state[key] !== undefined) $(id).value = state[key];
    }
    if ([...$("shift-model").options].some((option) => option.value === state.shift)) { $("shift-model").value = state.shift; this.#sliders(); }
    const [id, name] = (state.source ?? "").split("~");
    if (id) {
      try { this.take({ ...(await api.describe(id)), name }); } catch { await this.sample(); }
    }
    $("shape-range").value = state.bars ?? "";
    for (const slider of $("shift-sliders").querySelectorAll("input")) {
      const amount = state[`by.${slider.dataset.attribute}`];
      if (amount) { slider.value = amount; slider.parentElement.querySelector("output").textContent = Number(amount).toFixed(1); }
    }
    if (Object.keys(this.#amounts()).length) await this.#shift(false);
  }
}
