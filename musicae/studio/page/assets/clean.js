// Clean: a recording or a picture without its noise, beside what it was.

import WaveSurfer from "/scripts/wavesurfer.js";
import * as api from "./api.js";
import { $, colour, downloads, el, picture, save, say, shown, slot } from "./dom.js";
import { player } from "./player.js";

const KINDS = ["before", "after", "removed"];
const FADE_S = 0.012;

/** Several versions of one sound that run together; one of them is heard. */
class Together {
  #buffers = {};
  #sources = [];
  #gains = {};
  #since = 0;
  #from = 0;
  heard = "before";
  playing = false;

  async load(sounds) {
    this.pause();
    this.output = await player.output();
    const decoded = await Promise.all(Object.values(sounds).map(async (blob) => player.context.decodeAudioData(await blob.arrayBuffer())));
    this.#from = 0;
    this.#buffers = Object.fromEntries(Object.keys(sounds).map((kind, number) => [kind, decoded[number]]));
  }

  get duration() { return Math.max(0.01, ...Object.values(this.#buffers).map((buffer) => buffer.duration)); }
  get position() { return this.playing ? (this.#from + player.context.currentTime - this.#since) % this.duration : this.#from; }
  get loaded() { return Object.keys(this.#buffers).length > 0; }

  play() {
    if (!this.loaded) return;
    player.pause();
    const now = player.context.currentTime + 0.02;
    this.#since = now;
    this.#sources = [];
    for (const [kind, buffer] of Object.entries(this.#buffers)) {
      const source = new AudioBufferSourceNode(player.context, { buffer, loop: player.loop });
      const gain = new GainNode(player.context, { gain: kind === this.heard ? 1 : 0 });
      source.connect(gain).connect(this.output);
      source.start(now, this.#from % buffer.duration);
      this.#gains[kind] = gain;
      this.#sources.push(source);
    }
    this.#sources[0].onended = () => { if (this.playing && !player.loop) { this.pause(); this.#from = 0; } };
    this.playing = true;
    player.dispatchEvent(new Event("change"));
  }

  pause() {
    if (!this.playing) return;
    this.#from = this.position;
    this.playing = false;
    this.#sources.forEach((source) => { source.onended = null; source.stop(); });
    player.dispatchEvent(new Event("change"));
  }

  seek(second) {
    const was = this.playing;
    this.pause();
    this.#from = second;
    if (was) this.play();
  }

  setLoop(loop) { this.#sources.forEach((source) => { source.loop = loop; }); }

  hear(kind) {
    this.heard = kind;
    for (const [name, gain] of Object.entries(this.#gains)) {
      gain.gain.setTargetAtTime(name === kind ? 1 : 0, player.context.currentTime, FADE_S / 3);
    }
  }
}

export class Clean {
  #items = [];
  #item = null;
  #answer = null;
  #asked = null;
  #models = [];
  #wave = null;
  #results = new Map(); // id of a file → what was made of it
  together = new Together();

  constructor() {
    this.slot = slot($("clean-slot"), "Recording or picture", {
      accept: "audio/*,image/*,.flac,.ogg,.opus", kinds: ["audio", "image"], errorId: "clean-error", many: true,
      taken: (item, items) => { this.#items = items; this.#results.clear(); this.#list(); return this.take(item); },
    });
    $("clean-go").addEventListener("click", () => (this.#items.length > 1 ? this.#all() : this.clean()));
    $("clean-model").addEventListener("change", () => this.#ask());
    $("clean-stop").addEventListener("click", () => this.#asked?.abort());
    for (const input of document.querySelectorAll("input[name=heard]")) {
      input.addEventListener("change", () => { this.together.hear(input.value); this.#pictureOf(input.value); });
    }
    $("picture-divider").addEventListener("input", () => this.#divide());
    const turn = () => { if (this.together.playing) this.#wave?.setTime(this.together.position); requestAnimationFrame(turn); };
    requestAnimationFrame(turn);
  }

  setModels(models) {
    this.#models = models;
    this.#offer();
  }

  #offer() {
    const able = this.#models.filter((model) => model.can.some((each) => ["denoise", "upscale"].includes(each)) && (!this.#item || model.domain === this.#item.kind));
    const former = $("clean-model").value;
    $("clean-model").replaceChildren(...able.map((model) => el("option", { value: model.name, textContent: model.name })));
    if (able.some((model) => model.name === former)) $("clean-model").value = former;
    $("clean-go").disabled = !this.#item || !able.length;
    this.#ask();
    if (this.#item && !able.length) $("clean-error").textContent = this.#item.kind === "image" ? "No model for pictures is loaded; train one, and start with: musicae studio --model FOLDER" : "No model for sounds is loaded yet.";
  }

  #model() { return this.#models.find((each) => each.name === $("clean-model").value); }

  /** A denoiser has a strength, an enlarger of pictures a scale. */
  #ask() {
    const enlarges = this.#model()?.can.includes("upscale") ?? false;
    $("clean-strength-label").hidden = enlarges;
    const scales = this.#model()?.scales ?? [], former = $("clean-scale").value;
    $("clean-scale-label").hidden = scales.length < 2;
    $("clean-scale").replaceChildren(...scales.map((scale) => el("option", { value: scale, textContent: scale })));
    if (scales.map(String).includes(former)) $("clean-scale").value = former;
    $("clean-go").textContent = enlarges ? "Upscale" : "Clean";
  }

  #list() {
    $("clean-files").replaceChildren(...(this.#items.length > 1 ? this.#items : []).map((item) => {
      const button = el("button", { textContent: item.name, ariaPressed: String(item === this.#item) });
      button.addEventListener("click", () => this.take(item));
      return button;
    }));
  }

  async take(item) {
    this.#item = item;
    this.#answer = null;
    this.slot.show(item);
    $("clean-error").textContent = "";
    this.#offer();
    $("clean-downloads").replaceChildren();
    $("clean-sound").hidden = item.kind !== "audio";
    $("clean-picture").hidden = item.kind !== "image";
    [...$("clean-files").children].forEach((button) => { button.ariaPressed = String(button.textContent === item.name); });
    if (item.kind !== "audio") { this.sounds = null; await this.together.load({}); }
    const made = this.#results.get(item.id);
    if (made) await this.#showResult(item, made);
    else if (item.kind === "audio") await this.#showSound({ before: item });
    else await this.#showPicture(item, item);
  }

  async #showResult(before, made) {
    this.#answer = made[0];
    if (before.kind === "audio") {
      await this.#showSound({ before, after: made[0], ...(made[1] && { removed: made[1] }) });
      const input = document.querySelector("input[name=heard][value=after]");
      input.checked = true;
      this.together.hear("after");
      this.#pictureOf("after");
    } else {
      await this.#showPicture(before, made[0]);
    }
    downloads($("clean-downloads"), this.#answer, "clean-error", `${before.name.replace(/\.[^.]+$/, "")}-clean`);
    if (this.#results.size > 1) this.#offerAll();
  }

  async clean() {
    const before = this.#item;
    const model = this.#model();
    const what = model.can.find((each) => ["denoise", "upscale"].includes(each));
    this.#asked = new AbortController();
    const progress = $("clean-progress");
    progress.value = 0;
    progress.hidden = $("clean-stop").hidden = false;
    const found = await shown("clean-error", () => api.compute(what, {
      model: model.name, item: before.id, ...(what === "denoise" ? { strength: Number($("clean-strength").value) } : model.scales.length && { scale: Number($("clean-scale").value) }),
    }, { signal: this.#asked.signal, onProgress: (share) => { progress.value = share; } }), $("clean-go"));
    progress.hidden = $("clean-stop").hidden = true;
    if (!found) return null;
    this.#results.set(before.id, found.items);
    if (before === this.#item) await this.#showResult(before, found.items); // else another was chosen meanwhile
    return found.items[0];
  }

  async #all() {
    for (const [number, item] of this.#items.entries()) {
      await this.take(item);
      say(`file ${number + 1} of ${this.#items.length}`);
      if (!(await this.clean())) break; // stopped, or refused in words; what is done can be had
    }
    say("");
  }

  #offerAll() {
    const button = el("button", { textContent: `Download all ${this.#results.size}` });
    button.addEventListener("click", () => shown("clean-error", async () => {
      for (const item of this.#items.filter((each) => this.#results.has(each.id))) {
        const [result] = this.#results.get(item.id), [ending] = result.formats;
        save(await api.file(result.id, ending), `${item.name.replace(/\.[^.]+$/, "")}-clean.${ending}`);
      }
    }, button));
    $("clean-downloads").append(button);
  }

  async #showSound(items) {
    for (const kind of KINDS) {
      const input = document.querySelector(`input[name=heard][value=${kind}]`);
      input.disabled = !items[kind];
      if (!items[kind] && input.checked) document.querySelector("input[name=heard][value=before]").checked = true;
    }
    this.sounds = items;
    await this.together.load(Object.fromEntries(await Promise.all(Object.entries(items).map(async ([kind, item]) => [kind, await api.file(item.id, "wav")]))));
    if (this.sounds !== items) return;
    this.together.heard = document.querySelector("input[name=heard]:checked").value;
    this.#pictureOf(this.together.heard);
    const pictures = await Promise.all(Object.entries(items).filter(([kind]) => kind !== "removed").map(async ([kind, item]) => {
      return el("figure", {}, picture(await api.file(item.id, "png"), `Spectrogram ${kind}`), el("figcaption", { textContent: kind }));
    }));
    if (this.sounds === items) $("clean-pictures").replaceChildren(...pictures);
  }

  #pictureOf(kind) {
    const item = this.sounds?.[kind];
    if (!item) return;
    this.#wave?.destroy();
    this.#wave = WaveSurfer.create({
      container: $("clean-wave"), height: 96, peaks: [item.peaks], duration: item.duration_s, normalize: false,
      cspNonce: document.querySelector("meta[name=style-nonce]").content,
      waveColor: colour("--second"), progressColor: colour("--accent"), cursorColor: colour("--ink"),
    });
    this.#wave.on("interaction", (second) => this.together.seek(second));
    $("clean-wave").setAttribute("aria-label", `Waveform ${kind}, ${item.duration_s.toFixed(1)} seconds`);
  }

  async #showPicture(before, after) {
    const blobs = await Promise.all([before, after].map((item) => api.file(item.id, "png")));
    for (const [number, id] of ["picture-before", "picture-after"].entries()) {
      $(id).onload = () => URL.revokeObjectURL($(id).src);
      $(id).src = URL.createObjectURL(blobs[number]);
    }
    this.#divide();
  }

  #divide() {
    $("picture-after").style.clipPath = `inset(0 0 0 ${$("picture-divider").value}%)`;
  }

  enter() { player.pause(); }
  leave() { this.together.pause(); }
  state() { return { model: $("clean-model").value, strength: $("clean-strength").value }; }
  async restore(state) { if (state.strength) $("clean-strength").value = state.strength; }
}
