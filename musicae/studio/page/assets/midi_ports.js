// Web MIDI: a keyboard plays, and is recorded into Morph's first slot; music goes to another program.

import * as api from "./api.js";
import { $, el, say, shown } from "./dom.js";
import { player } from "./player.js";

const SILENCE_MS = 1500, TICKS = 480, TEMPO_US = 500_000;

/** A MIDI file of what was played: [milliseconds, status, data, data]. */
export function midiFile(events) {
  const start = events[0][0], bytes = [];
  let before = 0;
  const number = (value) => {
    const parts = [value & 0x7f];
    for (let rest = value >> 7; rest; rest >>= 7) parts.unshift((rest & 0x7f) | 0x80);
    return parts;
  };
  bytes.push(0, 0xff, 0x51, 3, TEMPO_US >> 16, (TEMPO_US >> 8) & 255, TEMPO_US & 255);
  for (const [time, ...message] of events) {
    const tick = Math.round(((time - start) * 1000 * TICKS) / TEMPO_US);
    bytes.push(...number(tick - before), ...message);
    before = tick;
  }
  bytes.push(0, 0xff, 0x2f, 0);
  const head = [0x4d, 0x54, 0x68, 0x64, 0, 0, 0, 6, 0, 0, 0, 1, TICKS >> 8, TICKS & 255, 0x4d, 0x54, 0x72, 0x6b];
  const size = [24, 16, 8, 0].map((shift) => (bytes.length >> shift) & 255);
  return new Uint8Array([...head, ...size, ...bytes]);
}

export function midiPorts(taken) {
  if (!navigator.requestMIDIAccess) {
    for (const id of ["midi-in", "midi-out"]) $(id).disabled = true;
    return;
  }
  let access = null, events = [], waiting = 0;
  const offer = () => {
    for (const [id, ports, none] of [["midi-in", access.inputs, "none"], ["midi-out", access.outputs, "this page"]]) {
      const former = $(id).value;
      $(id).replaceChildren(el("option", { value: "", textContent: none }), ...[...ports.values()].map((port) => el("option", { value: port.id, textContent: port.name })));
      $(id).value = [...ports.keys()].includes(former) ? former : "";
    }
  };
  const open = async () => {
    if (access) return;
    try {
      access = await navigator.requestMIDIAccess();
    } catch {
      say("The browser does not allow MIDI here.");
      return;
    }
    access.onstatechange = offer;
    offer();
  };
  const done = () => shown("morph-error", async () => {
    if (events.filter((event) => (event[1] & 0xf0) === 0x90).length < 4) { events = []; return; }
    const item = await api.upload(new File([midiFile(events)], "played.mid"));
    events = [];
    taken(item);
  });
  const heard = (message) => {
    const [status, pitch, velocity] = message.data;
    const kind = status & 0xf0;
    if (kind !== 0x90 && kind !== 0x80) return;
    player.touch(pitch, velocity, kind === 0x90);
    events.push([message.timeStamp, kind, pitch, velocity]);
    clearTimeout(waiting);
    waiting = setTimeout(done, SILENCE_MS);
  };
  for (const id of ["midi-in", "midi-out"]) $(id).addEventListener("pointerdown", open);
  for (const id of ["midi-in", "midi-out"]) $(id).addEventListener("focus", open);
  $("midi-in").addEventListener("change", () => {
    for (const port of access?.inputs.values() ?? []) port.onmidimessage = port.id === $("midi-in").value ? heard : null;
  });
  $("midi-out").addEventListener("change", () => { player.pause(); player.out = access?.outputs.get($("midi-out").value) ?? null; });
}
