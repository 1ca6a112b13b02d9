// Plays music through a synthesizer in the page. What plays can be exchanged at any time: it goes on at the same place.

import { WorkletSynthesizer } from "/scripts/spessasynth_lib.js";

const AHEAD_S = 0.06; // what is scheduled can't be taken back, so it is little
const TICK_MS = 20;
const DRUMS = 9;
const PITCHED = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14]; // the last one is a keyboard's

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
  #ends = []; // [place in the piece, channel, pitch] of notes that have begun; each is ended when it is due
  #level = 0.8;
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
      this.#open();
      await this.#context.audioWorklet.addModule("/scripts/spessasynth_processor.js");
      const answer = await fetch("/font.sf2");
      if (!answer.ok) throw new Error("There is no sound font here; download the WAV to hear it.");
      const font = await answer.arrayBuffer();
      this.#synth = new WorkletSynthesizer(this.#context);
      this.#synth.connect(this.#volume);
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

  #open() {
    if (this.#context) return;
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#volume = new GainNode(this.#context, { gain: this.#level });
    this.analyser = this.#context.createAnalyser();
    this.#volume.connect(this.analyser).connect(this.#context.destination);
  }

  /** A node that other sounds of the page go through, so that the volume is one for all; it needs no sound font. */
  async output() {
    this.#open();
    await this.#context.resume();
    return this.#volume;
  }

  setVolume(value) {
    this.#level = value;
    if (this.#volume) this.#volume.gain.setTargetAtTime(value, this.#context.currentTime, 0.01);
  }

  /** Takes another piece, at the same place if one plays. */
  swap(piece, { restart = false } = {}) {
    const place = restart || !this.#piece ? 0 : this.position;
    const others = this.#piece?.tracks.map((track) => track.name).join() !== piece.tracks.map((track) => track.name).join();
    this.#silence();
    this.#piece = piece;
    if (others) this.muted.clear();
    let pitched = 0;
    this.#events = piece.tracks.flatMap((track, number) => {
      const own = track.drums ? DRUMS : PITCHED[pitched % PITCHED.length];
      if (!track.drums) pitched += 1;
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
      if (end > second + 0.05 && channel !== DRUMS && !this.muted.has(track)) this.#note(this.#since, end, channel, pitch, velocity);
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
        if (time > until) { this.#endUntil(this.#from + (until - this.#since) * this.speed); return; }
        this.#endUntil(start);
        if (!this.muted.has(track)) this.#note(time, end, channel, pitch, velocity);
      }
      const over = this.#when(this.#piece.duration_s);
      if (over > until) { this.#endUntil(this.#from + (until - this.#since) * this.speed); return; }
      this.#endUntil(Infinity);
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

  /** Ends the notes that are over at a place of the piece. */
  #endUntil(second) {
    const over = this.#ends.filter(([end]) => end <= second).sort((a, b) => a[0] - b[0]);
    this.#ends = this.#ends.filter(([end]) => end > second);
    for (const [end, channel, pitch, began] of over) {
      this.#send([0x80 | channel, pitch, 0], Math.max(began + 0.02, this.#when(Math.min(end, this.#piece.duration_s))));
    }
  }

  #note(time, end, channel, pitch, velocity) {
    this.#send([0x90 | channel, pitch, velocity], time);
    this.#ends.push([end, channel, pitch, time]);
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
    for (const [, channel, pitch, began] of this.#ends) this.#send([0x80 | channel, pitch, 0], Math.max(now, began) + 0.001);
    this.#ends = [];
  }
}

export const player = new Player();
