// Plays music through a synthesizer in the page. What plays can be exchanged at any time: it goes on at the same place.

import { WorkletSynthesizer } from "/scripts/spessasynth_lib.js";

const AHEAD_S = 0.06; // what is scheduled can't be taken back, so it is little
const TICK_MS = 20;
const DRUMS = 9;

class Player extends EventTarget {
  #context = null;
  #synth = null;
  #starting = null;
  #piece = null;
  #events = []; // [start_s, end_s, channel, pitch, velocity, track], by start
  #next = 0;
  #timer = 0;
  #from = 0; // place in the piece, in seconds of its own tempo, at #since of the context
  #since = 0;
  #sounding = []; // [end, channel, pitch], scheduled and not over
  #volume = null;
  speed = 1;
  loop = true;
  muted = new Set();
  analyser = null;
  out = null; // a port of Web MIDI, or null for the page
  stopOthers = () => {};

  get playing() { return this.#timer !== 0; }
  get context() { return this.#context; }
  get piece() { return this.#piece; }

  get position() {
    if (!this.playing) return this.#from;
    return this.#from + Math.max(0, this.#context.currentTime - this.#since) * this.speed;
  }

  async start() {
    this.#starting ??= (async () => {
      this.#context = new AudioContext({ latencyHint: "interactive" });
      await this.#context.audioWorklet.addModule("/scripts/spessasynth_processor.js");
      const answer = await fetch("/font.sf2");
      if (!answer.ok) throw new Error("There is no sound font here; download the WAV to hear it.");
      const font = await answer.arrayBuffer();
      this.#synth = new WorkletSynthesizer(this.#context);
      this.#volume = this.#context.createGain();
      this.#volume.gain.value = 0.8;
      this.analyser = this.#context.createAnalyser();
      this.#synth.connect(this.#volume);
      this.#volume.connect(this.analyser);
      this.analyser.connect(this.#context.destination);
      await this.#synth.soundBankManager.addSoundBank(font, "font");
      await this.#synth.isReady;
      this.#programs();
    })();
    try {
      await this.#starting;
    } catch (error) {
      this.#starting = null;
      throw error;
    }
    await this.#context.resume();
  }

  /** A node that other sounds of the page go through, so that the volume is one for all. */
  async output() {
    await this.start();
    return this.#volume;
  }

  setVolume(value) {
    if (this.#volume) this.#volume.gain.setTargetAtTime(value, this.#context.currentTime, 0.01);
  }

  /** Takes another piece, at the same place if one plays. */
  swap(piece, { restart = false } = {}) {
    const place = restart || !this.#piece ? 0 : this.position;
    const others = this.#piece?.tracks.map((track) => track.name).join() !== piece.tracks.map((track) => track.name).join();
    this.#silence();
    this.#piece = piece;
    if (others) this.muted.clear();
    let channel = 0;
    this.#events = piece.tracks.flatMap((track, number) => {
      if (channel === DRUMS) channel += 1;
      const own = track.drums ? DRUMS : channel % 16;
      if (!track.drums) channel += 1;
      track.channel = own;
      return track.notes.map(([start, end, pitch, velocity]) => [start, end, own, pitch, velocity, number]);
    });
    this.#events.sort((a, b) => a[0] - b[0]);
    this.#programs();
    this.#place(this.#within(place), true);
    this.dispatchEvent(new Event("change"));
  }

  async play() {
    if (!this.#piece) return;
    this.stopOthers();
    await this.start();
    if (this.position >= this.#piece.duration_s - 0.01) this.#from = 0;
    this.#place(this.#from, true);
    if (!this.#timer) this.#timer = setInterval(() => this.#schedule(), TICK_MS);
    this.#schedule();
    this.dispatchEvent(new Event("change"));
  }

  pause() {
    if (!this.playing) return;
    this.#from = this.#within(this.position);
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#silence();
    this.dispatchEvent(new Event("change"));
  }

  seek(second) {
    this.#silence();
    this.#place(this.#within(second), true);
    this.dispatchEvent(new Event("change"));
  }

  setSpeed(speed) {
    const place = this.position;
    this.speed = speed;
    this.#silence();
    this.#place(place, true);
  }

  setMuted(track, muted) {
    if (muted) this.muted.add(track); else this.muted.delete(track);
    const place = this.position;
    this.#silence();
    this.#place(place, true);
  }

  /** A note at once, as from a keyboard. */
  async touch(pitch, velocity, down) {
    await this.start();
    if (down && velocity > 0) this.#synth.noteOn(15, pitch, velocity); else this.#synth.noteOff(15, pitch);
  }

  #within(second) {
    const length = this.#piece?.duration_s ?? 0;
    return length > 0 ? Math.min(Math.max(0, second >= length ? second % length : second), length) : 0;
  }

  #programs() {
    if (!this.#synth || !this.#piece) return;
    for (const track of this.#piece.tracks) {
      if (!track.drums) this.#send([0xc0 | track.channel, track.program]);
    }
  }

  /** Goes to a place; notes that sound there begin again. */
  #place(second, held) {
    this.#from = second;
    this.#since = this.#context ? this.#context.currentTime + 0.005 : 0;
    this.#next = this.#events.findIndex((event) => event[0] >= second - 1e-6);
    if (this.#next < 0) this.#next = this.#events.length;
    if (!held || !this.playing) return;
    for (const [start, end, channel, pitch, velocity, track] of this.#events) {
      if (start >= second - 1e-6) break;
      if (end > second + 0.05 && channel !== DRUMS && !this.muted.has(track)) this.#note(this.#since, this.#when(end), channel, pitch, velocity);
    }
    this.#schedule();
  }

  #when(second) { return this.#since + (second - this.#from) / this.speed; }

  #schedule() {
    if (!this.#piece || !this.#context) return;
    const until = this.#context.currentTime + AHEAD_S;
    for (;;) {
      for (; this.#next < this.#events.length; this.#next += 1) {
        const [start, end, channel, pitch, velocity, track] = this.#events[this.#next];
        const time = this.#when(start);
        if (time > until) return;
        if (!this.muted.has(track)) this.#note(time, this.#when(end), channel, pitch, velocity);
      }
      const over = this.#when(this.#piece.duration_s);
      if (over > until) return;
      if (!this.loop) {
        if (this.#context.currentTime >= over) {
          this.pause();
          this.#from = 0;
          this.dispatchEvent(new Event("change"));
        }
        return;
      }
      this.#from = 0;
      this.#since = over;
      this.#next = 0;
      if (this.#piece.duration_s / this.speed < 0.05) return;
    }
  }

  #note(time, end, channel, pitch, velocity) {
    this.#send([0x90 | channel, pitch, velocity], time);
    this.#send([0x80 | channel, pitch, 0], Math.max(end, time + 0.02));
    const now = this.#context.currentTime;
    this.#sounding = this.#sounding.filter((each) => each[0] > now);
    this.#sounding.push([end, channel, pitch, time]);
    this.dispatchEvent(new CustomEvent("note", { detail: { time, pitch } }));
  }

  #send(message, time = 0) {
    if (this.out) {
      const wait = Math.max(0, time - this.#context.currentTime) * 1000;
      this.out.send(message, performance.now() + wait);
    } else if (this.#synth) {
      this.#synth.sendMessage(message, 0, time ? { time } : undefined);
    }
  }

  #silence() {
    if (!this.#context) return;
    // Just after whatever is scheduled, so that no note hangs.
    const now = this.#context.currentTime;
    for (const [end, channel, pitch, time] of this.#sounding) {
      if (end > now) this.#send([0x80 | channel, pitch, 0], Math.max(now, time) + 0.001);
    }
    this.#sounding = [];
  }
}

export const player = new Player();
