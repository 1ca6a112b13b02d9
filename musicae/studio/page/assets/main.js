// The page: tabs, the transport at the bottom, and the models as they are loaded.

import * as api from "./api.js";
import { Clean } from "./clean.js";
import { $, el, fill, say } from "./dom.js";
import { MapTab } from "./map.js";
import { midiPorts } from "./midi_ports.js";
import { Morph } from "./morph.js";
import { player } from "./player.js";
import { Shape } from "./shape.js";
import { Train } from "./train.js";

const ASK_AGAIN_MS = 700;
let items = [];
const tabs = { morph: new Morph(), shape: new Shape(), map: new MapTab(() => items), clean: new Clean(), train: new Train(() => models()) };
let current = "morph";

player.stopOthers = () => { tabs.clean.together.pause(); tabs.map.pause(); };

function go(name, focus = false) {
  if (name !== current) tabs[current].leave?.();
  current = name;
  for (const each of Object.keys(tabs)) {
    const tab = $(`tab-${each}`), chosen = each === name;
    tab.ariaSelected = String(chosen);
    tab.tabIndex = chosen ? 0 : -1;
    $(each).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  $("tempo").disabled = name === "clean";
  tabs[name].enter?.();
}

$("tabs").addEventListener("click", (event) => event.target.role === "tab" && go(event.target.id.slice(4)));
$("tabs").addEventListener("keydown", (event) => {
  const names = Object.keys(tabs), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const end = { Home: names[0], End: names.at(-1) }[event.key];
  if (step || end) go(end ?? names[(names.indexOf(current) + step + names.length) % names.length], true);
});

// Transport

const sounding = () => (current === "clean" ? tabs.clean.together : tabs.map.playing ? tabs.map : player);

async function toggle() {
  try {
    const source = sounding();
    if (source.playing) source.pause(); else await source.play();
  } catch (error) {
    say(error.message);
  }
}

function showTransport() {
  const playing = player.playing || tabs.clean.together.playing || tabs.map.playing;
  $("play").textContent = playing ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  const tracks = current === "clean" ? [] : player.piece?.tracks ?? [];
  $("parts").replaceChildren(...(tracks.length > 1 ? tracks : []).map((track, number) => {
    const box = el("input", { type: "checkbox", checked: !player.muted.has(number) });
    box.addEventListener("change", () => player.setMuted(number, !box.checked));
    return el("label", { className: "check" }, box, track.name || (track.drums ? "drums" : `part ${number + 1}`));
  }));
}

$("play").addEventListener("click", toggle);
player.addEventListener("change", showTransport);
$("loop").addEventListener("change", () => { player.loop = $("loop").checked; tabs.clean.together.setLoop(player.loop); });
$("tempo").addEventListener("input", () => {
  player.setSpeed(Number($("tempo").value) / 100);
  const tempo = player.piece ? `, ${Math.round((player.piece.tempo_bpm * $("tempo").value) / 100)}` : "";
  $("tempo-said").textContent = `${$("tempo").value}%${tempo}`;
});
$("volume").addEventListener("input", () => player.setVolume(Number($("volume").value) / 100));
document.addEventListener("keydown", (event) => {
  const used = ["INPUT", "SELECT", "BUTTON", "TEXTAREA", "SUMMARY"].includes(event.target.tagName) && event.target.type !== "range";
  if (event.code === "Space" && !used) { event.preventDefault(); toggle(); }
});
const turn = () => { $("time").textContent = `${(sounding().position ?? 0).toFixed(1)} s`; requestAnimationFrame(turn); };
requestAnimationFrame(turn);

// Links

$("link").addEventListener("click", async () => {
  const values = new URLSearchParams({ tab: current, ...tabs[current].state() });
  // The token stays out of it: a link is passed on.
  history.replaceState(null, "", `#${values}`);
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is in the clipboard.");
  } catch {
    say("The link is in the address bar.");
  }
});

// Models

async function models() {
  for (;;) {
    let found;
    try {
      found = await api.status();
    } catch (error) {
      $("loading").textContent = error.message;
      await new Promise((resolve) => setTimeout(resolve, 3 * ASK_AGAIN_MS));
      continue;
    }
    const able = (...what) => found.models.filter((model) => what.every((each) => model.can.includes(each)));
    const music = (list) => list.filter((model) => model.domain === "music");
    fill($("morph-model"), music(able("interpolate")));
    fill($("sample-model"), music(able("sample")));
    fill($("shift-model"), music(able("shift")));
    fill($("map-model"), able("map"));
    tabs.shape.setModels(music(found.models));
    tabs.map.setModels(found.models);
    tabs.clean.setModels(found.models);
    tabs.train.setModels(found.models);
    const failed = Object.values(found.failed);
    $("loading").textContent = failed[0] ?? (found.loading.length ? `loading ${found.loading[0]} …` : "");
    if (!found.loading.length) return;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}

async function begin() {
  const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const loaded = models();
  midiPorts((item) => { tabs.morph.take(0, item); tabs.morph.make(); go("morph"); });
  try {
    items = (await api.starters()).items;
  } catch (error) {
    $("loading").textContent = error.message;
  }
  const music = items.filter((item) => item.kind === "music");
  if (tabs[asked.tab]) {
    go(asked.tab);
    await loaded;
    await tabs[asked.tab].restore(asked);
  }
  if (!tabs.morph.hasEnds && music.length > 1) {
    tabs.morph.take(0, music[0]);
    tabs.morph.take(1, music[1]);
    while (!$("morph-model").value) await new Promise((resolve) => setTimeout(resolve, 100));
    await tabs.morph.make();
  }
}

begin();
