// Train: the command line's training, watched.

import * as api from "./api.js";
import { $, colour, el, picture, shown } from "./dom.js";
import { sized } from "./roll.js";

const WATCH_MS = 1000;
const STOPPED = 130; // the exit code of a run that was asked to stop

export class Train {
  #watching = 0;
  #previews = [];
  #rows = [];
  #known;

  constructor(known) {
    this.#known = known;
    $("train-folder").addEventListener("change", () => this.#take([...$("train-folder").files]));
    $("train-start").addEventListener("click", () => this.#do(() => api.training.start({
      domain: $("train-domain").value, task: $("train-task").value,
      ...($("train-from").value && { start_from: $("train-from").value }),
      ...($("train-minutes").value && { minutes: Number($("train-minutes").value) }),
      ...($("train-steps").value && { steps: Number($("train-steps").value) }),
    }), $("train-start")));
    $("train-stop").addEventListener("click", () => this.#do(() => api.training.stop(), $("train-stop")));
    $("train-continue").addEventListener("click", () => this.#do(() => api.training.resume(), $("train-continue")));
    $("train-use").addEventListener("click", () => shown("train-error", async () => {
      const { model } = await api.training.use();
      $("train-said").textContent = `${model} is among the models of the other tabs now.`;
      await this.#known();
    }, $("train-use")));
    for (const id of ["train-domain", "train-task"]) $(id).addEventListener("change", () => this.#from());
    new ResizeObserver(() => this.#draw()).observe($("train-curve"));
  }

  setModels(models) { this.models = models; this.#from(); }

  #from() {
    const fitting = (this.models ?? []).filter((model) => model.domain === $("train-domain").value && model.task === $("train-task").value);
    const former = $("train-from").value;
    $("train-from").replaceChildren(el("option", { value: "", textContent: "nothing" }), ...fitting.map((model) => el("option", { value: model.name, textContent: model.name })));
    if (fitting.some((model) => model.name === former)) $("train-from").value = former;
  }

  async #take(files) {
    await shown("train-error", async () => {
      await api.training.forget();
      for (const [number, file] of files.entries()) {
        $("train-files").textContent = `sending ${number + 1} of ${files.length} …`;
        await api.training.add(file);
      }
      $("train-files").textContent = `${files.length} files`;
      const found = await api.training.inspect();
      $("train-domain").value = found.domain;
      this.#from();
      $("train-inspection").hidden = false;
      $("train-inspection").textContent = found.lines.join("\n");
    });
  }

  async #do(work, button) {
    const state = await shown("train-error", work, button);
    if (!state) return;
    this.#show(state);
    this.#watch();
  }

  #watch() {
    clearInterval(this.#watching);
    this.#watching = setInterval(async () => {
      try {
        const state = await api.training.state();
        this.#show(state);
        if (!state.running) clearInterval(this.#watching);
      } catch (error) {
        $("train-error").textContent = error.message;
      }
    }, WATCH_MS);
  }

  #show(state) {
    const hasFailed = state.exit_code && !state.running && state.exit_code !== STOPPED;
    if (hasFailed || state.running) $("train-error").textContent = hasFailed ? state.log.at(-1) ?? `It ended with ${state.exit_code}.` : "";
    $("train-start").disabled = state.running;
    if (state.files) $("train-files").textContent = `${state.files} files`;
    $("train-stop").disabled = !state.running;
    $("train-continue").disabled = !state.can_continue;
    $("train-use").disabled = state.running || !state.metrics.length;
    $("train-command").hidden = !state.command;
    $("train-command").textContent = state.command ?? "";
    $("train-log").textContent = state.log.join("\n");
    const last = state.metrics.at(-1);
    $("train-said").textContent = state.running
      ? last ? `update ${last.step}, loss ${last["validation/loss"]?.toFixed(3)}` : "beginning …"
      : state.run ? `${state.stopped ? "Stopped" : "Done"}${last ? ` after ${last.step} updates` : ""}. The run is in ${state.run}.` : "";
    this.#rows = state.metrics.filter((row) => "validation/loss" in row);
    $("train-curve").hidden = !this.#rows.length;
    this.#draw();
    this.#showPreviews(state.previews);
  }

  #draw() {
    const canvas = $("train-curve"), rows = this.#rows;
    if (!rows.length || !canvas.offsetParent) return;
    const { context, width, height } = sized(canvas);
    const losses = rows.map((row) => row["validation/loss"]), low = Math.min(...losses), high = Math.max(...losses);
    const last = rows.at(-1).step, x = (step) => 56 + ((width - 72) * step) / last, y = (loss) => 16 + (height - 44) * (1 - (loss - low) / (high - low || 1));
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = colour("--soft");
    context.fillText(high.toPrecision(4), 6, 20);
    context.fillText(low.toPrecision(4), 6, height - 26);
    context.fillText("validation loss over updates", 60, height - 8);
    context.fillText(String(last), width - 44, height - 8);
    context.strokeStyle = colour("--accent");
    context.fillStyle = colour("--accent");
    context.lineWidth = 2;
    context.beginPath();
    rows.forEach((row, number) => context[number ? "lineTo" : "moveTo"](x(row.step), y(row["validation/loss"])));
    context.stroke();
    rows.forEach((row) => { context.beginPath(); context.arc(x(row.step), y(row["validation/loss"]), 3, 0, 7); context.fill(); });
    canvas.setAttribute("aria-label", `Validation loss, ${losses[0].toPrecision(4)} at first and ${losses.at(-1).toPrecision(4)} after ${last} updates`);
  }

  async #showPreviews(names) {
    if (names.join() === this.#previews.join()) return;
    this.#previews = names;
    const shownLast = names.filter((name) => name.endsWith(".png")).slice(-2);
    const figures = [];
    for (const name of shownLast) {
      const image = picture(await api.training.preview(names.indexOf(name)), `Preview after ${Number(name.match(/\d+/)?.[0] ?? 0)} updates`);
      const figure = el("figure", {}, image, el("figcaption", { textContent: image.alt }));
      const sound = names.indexOf(name.replace(".png", ".wav"));
      if (sound >= 0) {
        const audio = el("audio", { controls: true, src: URL.createObjectURL(await api.training.preview(sound)) });
        audio.setAttribute("aria-label", `Sound of ${image.alt}`);
        figure.append(audio);
      }
      figures.push(figure);
    }
    for (const audio of $("train-previews").querySelectorAll("audio")) URL.revokeObjectURL(audio.src);
    $("train-previews").replaceChildren(...figures);
  }

  async enter() {
    try {
      const state = await api.training.state();
      this.#show(state);
      if (state.running) this.#watch();
    } catch { /* said when something is asked for */ }
  }

  state() { return { domain: $("train-domain").value, minutes: $("train-minutes").value }; }
  async restore(state) { if (state.minutes) $("train-minutes").value = state.minutes; }
}
