// Small things that every tab needs: elements, errors where they happen, slots for files, downloads.

import * as api from "./api.js";

export const $ = (id) => document.getElementById(id);

export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export function say(text) {
  $("said").textContent = text;
}

/** Runs something, and shows an error in the element of that id; the button is busy meanwhile, and keeps the focus. */
export async function shown(errorId, work, button = null) {
  const place = $(errorId);
  if (button?.getAttribute("aria-busy") === "true") return undefined;
  place.textContent = "";
  if (button) { button.setAttribute("aria-busy", "true"); say(`${button.textContent} …`); }
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") place.textContent = error.message;
    return undefined;
  } finally {
    if (button) { button.removeAttribute("aria-busy"); say(""); }
  }
}

/** A function that runs the newest call only: while one runs, of all others the last waits. */
export function newest(work) {
  let running = false, next = null;
  return async function call(...values) {
    if (running) { next = values; return; }
    running = true;
    try {
      await work(...values);
    } finally {
      running = false;
      if (next) { const waiting = next; next = null; call(...waiting); }
    }
  };
}

/** A place to drop a file on, or to choose one. `taken` gets what the studio says of it. */
export function slot(parent, label, { accept, kinds, errorId, taken, many = false }) {
  const invitation = "Drop a file here, or press to choose one.";
  const name = el("strong", { textContent: label });
  const about = el("small", { textContent: invitation });
  let former = null;
  const input = el("input", { type: "file", accept, multiple: many });
  input.setAttribute("aria-label", label);
  const box = el("label", { className: "slot" }, name, about, input);
  const show = (item) => {
    former = item;
    name.textContent = item ? `${label}: ${item.name}` : label;
    about.textContent = item ? summary(item) : invitation;
  };
  const take = async (files) => {
    if (!files.length) return;
    await shown(errorId, async () => {
      const items = [], refused = [];
      for (const file of many ? files : [files[0]]) {
        about.textContent = `reading ${file.name} …`;
        try {
          const item = await api.upload(file);
          if (!kinds.includes(item.kind)) throw new Error(`${file.name} is ${KINDS[item.kind]}; here ${kinds.map((kind) => KINDS[kind]).join(" or ")} is taken.`);
          items.push(item);
        } catch (error) {
          refused.push(error.message);
        }
      }
      show(items[0] ?? former);
      if (items.length) await taken(items[0], items);
      if (refused.length) throw new Error(refused.join(" "));
    });
    input.value = ""; // the same file may be chosen again
  };
  input.addEventListener("change", () => take([...input.files]));
  box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  parent.append(box);
  return { show, box };
}

const KINDS = { music: "music", audio: "a sound", image: "a picture" };

export function summary(item) {
  if (item.kind === "music") {
    const notes = item.tracks.reduce((sum, track) => sum + track.notes.length, 0);
    return `${count(item.bars, "bar")} of ${item.time_signature}, ${count(notes, "note")}, ${Math.round(item.tempo_bpm)} quarters a minute`;
  }
  if (item.kind === "audio") return `${item.duration_s.toFixed(1)} s, ${item.sample_rate_hz} Hz, ${count(item.channels, "channel")}`;
  return `${item.width} × ${item.height} pixels`;
}

const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

export function save(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A picture of some bytes, which are let go when it is shown. */
export function picture(blob, alt) {
  const image = new Image();
  image.alt = alt;
  image.onload = () => URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  return image;
}

/** A colour of the page, light or dark. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Buttons to download an item in each of its formats. */
export function downloads(parent, item, errorId, name = item?.name ?? "") {
  parent.replaceChildren();
  if (!item) return;
  for (const ending of item.formats) {
    const button = el("button", { textContent: `Download ${ending.toUpperCase()}` });
    const stem = name.replace(/\.[a-z0-9]+$/i, "");
    button.addEventListener("click", () => shown(errorId, async () => save(await api.file(item.id, ending), `${stem}.${ending}`), button));
    parent.append(button);
  }
}

export function fill(select, models, chosen) {
  const former = chosen ?? select.value;
  select.replaceChildren(...models.map((model) => el("option", { value: model.name, textContent: model.name })));
  if (models.some((model) => model.name === former)) select.value = former;
}
