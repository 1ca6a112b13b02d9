// Morph: two pieces or four, and what lies between them.

import * as api from "./api.js";
import { $, downloads, el, newest, say, shown, slot } from "./dom.js";
import { player } from "./player.js";
import { Roll, drawNotes } from "./roll.js";

const NAMES = ["A", "B", "C", "D"];
const ACCEPT = ".mid,.midi,.kar,.rmi,.abc,.musicxml,.mxl";

export class Morph {
  #ends = [null, null, null, null];
  #slots = [];
  #steps = [];
  #side = 0;
  #roll = new Roll($("morph-roll"), player);
  #asked = null;
  current = 0;

  constructor() {
    NAMES.forEach((name, number) => {
      const made = slot($("morph-slots"), name, {
        accept: ACCEPT, kinds: ["music"], errorId: "morph-error",
        taken: (item) => { this.#ends[number] = item; this.make(); },
      });
      made.box.hidden = number > 1;
      this.#slots.push(made);
    });
    $("morph-slider").addEventListener("input", () => this.choose(Number($("morph-slider").value)));
    for (const id of ["morph-model", "morph-steps", "morph-whole"]) $(id).addEventListener("change", () => this.make());
    $("morph-corners").addEventListener("change", () => { this.#corners(); this.make(); });
  }

  take(number, item) {
    this.#ends[number] = item;
    this.#slots[number].show(item);
  }

  get hasEnds() { return this.#ends[0] && this.#ends[1]; }

  #corners() {
    const four = $("morph-corners").checked;
    this.#slots.slice(2).forEach((each) => { each.box.hidden = !four; });
    $("morph-whole").disabled = four;
    $("morph-steps").disabled = four;
    if (four) [2, 3].forEach((number) => { if (!this.#ends[number] && this.#ends[number - 2]) this.take(number, this.#ends[3 - number]); });
  }

  make() {
    this.#asked?.abort(); // what is no longer wanted
    return this.#make();
  }

  #make = newest(async () => {
    const four = $("morph-corners").checked;
    if (!this.hasEnds || (four && !(this.#ends[2] && this.#ends[3]))) return;
    this.#asked = new AbortController();
    const [a, b, c, d] = this.#ends.map((item) => item?.id);
    const steps = Math.min(33, Math.max(3, Math.round(Number($("morph-steps").value)) || 9));
    $("morph-steps").value = steps;
    const body = {
      model: $("morph-model").value, a, b, steps, whole: !four && $("morph-whole").checked,
      ...(four && { c, d, steps: 5 }),
    };
    say("morphing …");
    const found = await shown("morph-error", () => api.compute("interpolate", body, { signal: this.#asked.signal }));
    say("");
    if (this.#asked.signal.aborted) return;
    this.#steps = found?.items ?? [];
    this.#side = found?.side ?? 0;
    $("morph-said").textContent = [...new Set(found?.remarks ?? [])].slice(0, 3).join("; ");
    if (found) this.#show(); else this.#clear();
  });

  /** Nothing of former files or another model is left. */
  #clear() {
    player.pause();
    for (const id of ["morph-strip", "morph-pad", "morph-downloads"]) $(id).replaceChildren();
    $("morph-slider").disabled = true;
    $("morph-where").textContent = "–";
    this.#roll.clear();
  }

  #show() {
    const last = this.#steps.length - 1, slider = $("morph-slider");
    slider.disabled = false;
    slider.max = last;
    $("morph-line").hidden = this.#side > 0;
    $("morph-pad").hidden = this.#side === 0;
    $("morph-strip").hidden = this.#side > 0;
    this.#buildPad();
    $("morph-strip").replaceChildren(...this.#steps.map((item, number) => {
      const canvas = el("canvas", { ariaHidden: "true" });
      const button = el("button", { ariaPressed: "false" }, canvas, String(number + 1));
      button.setAttribute("aria-label", `Step ${number + 1} of ${last + 1}`);
      button.addEventListener("click", () => { this.choose(number); player.play().catch((error) => { $("morph-error").textContent = error.message; }); });
      return button;
    }));
    if (!this.#side) requestAnimationFrame(() => this.#steps.forEach((item, number) => {
      const canvas = $("morph-strip").children[number]?.firstChild;
      if (canvas?.offsetParent) drawNotes(canvas, item, { small: true });
    }));
    this.choose(Math.min(this.current, last));
  }

  #buildPad() {
    const pad = $("morph-pad");
    pad.replaceChildren();
    if (!this.#side) return;
    pad.style.gridTemplateColumns = `repeat(${this.#side}, 1fr)`;
    const corners = { 0: "A", [this.#side - 1]: "C", [this.#side * (this.#side - 1)]: "B", [this.#side ** 2 - 1]: "D" };
    this.#steps.forEach((item, number) => {
      const button = el("button", { textContent: corners[number] ?? "", ariaPressed: "false" });
      button.setAttribute("aria-label", corners[number] ? `Corner ${corners[number]}` : item.name);
      button.addEventListener("click", () => this.choose(number));
      pad.append(button);
    });
    pad.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.#side, ArrowUp: -this.#side }[event.key];
      const number = this.current + (step ?? 0);
      if (!step || number < 0 || number >= this.#steps.length) return;
      event.preventDefault();
      this.choose(number);
      pad.children[number].focus();
    };
    pad.onpointermove = (event) => {
      if (!event.buttons) return;
      const button = document.elementFromPoint(event.clientX, event.clientY);
      const number = [...pad.children].indexOf(button);
      if (number >= 0 && number !== this.current) this.choose(number);
    };
  }

  choose(number) {
    const item = this.#steps[number];
    if (!item) return;
    this.current = number;
    const last = this.#steps.length - 1;
    $("morph-slider").value = number;
    $("morph-slider").setAttribute("aria-valuetext", `step ${number + 1} of ${last + 1}`);
    $("morph-where").textContent = `${number + 1} of ${last + 1}`;
    for (const strip of [$("morph-strip"), $("morph-pad")]) {
      [...strip.children].forEach((button, place) => {
        button.ariaPressed = String(place === number);
        if (strip.id === "morph-pad") button.tabIndex = place === number ? 0 : -1;
      });
    }
    if (!$("morph").hidden) player.swap(item); // only what is seen is heard
    this.#roll.show(item);
    downloads($("morph-downloads"), item, "morph-error", `morph-${item.name}`);
  }

  enter() {
    if (this.#steps.length) this.choose(this.current);
  }

  state() {
    const ends = this.#ends.map((item) => item && `${item.id}~${item.name}`);
    return {
      ends: ends.filter(Boolean).join(","), step: this.current, model: $("morph-model").value, steps: $("morph-steps").value,
      ...($("morph-whole").checked && { whole: 1 }), ...($("morph-corners").checked && { corners: 1 }),
    };
  }

  async restore(state) {
    const missing = [];
    if (state.model && ![...$("morph-model").options].some((option) => option.value === state.model)) missing.push(`the model ${state.model} is not loaded here`);
    else if (state.model) $("morph-model").value = state.model;
    if (state.steps) $("morph-steps").value = state.steps;
    $("morph-whole").checked = state.whole === "1";
    $("morph-corners").checked = state.corners === "1";
    this.current = Number(state.step) || 0;
    for (const [number, end] of (state.ends ?? "").split(",").filter(Boolean).entries()) {
      const [id, name] = end.split("~");
      try {
        this.take(number, { ...(await api.describe(id)), name });
      } catch {
        missing.push(`drop ${name} again, it is no longer in the studio's memory`);
      }
    }
    this.#corners();
    await this.make();
    if (missing.length) $("morph-error").textContent = `Not all of this link is here: ${missing.join("; ")}.`;
  }
}
