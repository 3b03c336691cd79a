// @ts-check
/**
 * The sound of a new message: two soft tones, made by the browser itself.
 *
 * Promises: of several tabs one rings; without a lock manager each does. Before the first click or key the browser
 * allows no sound, and then there is none.
 */

/** While one tab rings, and a little after, the others keep still: their event may come some moments later. */
const HELD_MS = 1_500;
const TONES = [
  { at: 0, hertz: 659 },
  { at: 0.11, hertz: 880 },
];

export class Bell {
  /** @type {AudioContext | null} */
  #audio = null;

  /** @param {Window} page */
  constructor(page) {
    const wake = () => {
      this.#audio ??= new AudioContext();
      if (this.#audio.state === "suspended") this.#audio.resume().catch(() => {});
    };
    for (const name of ["pointerdown", "keydown"]) page.addEventListener(name, wake, { passive: true });
  }

  ring() {
    if (!navigator.locks) return this.#sound();
    navigator.locks.request("chatd.inbox.bell", { ifAvailable: true }, (lock) => {
      // A tab that may not sound yet leaves it to another.
      if (!lock || this.#audio?.state !== "running") return undefined;
      this.#sound();
      return new Promise((resolve) => setTimeout(resolve, HELD_MS));
    });
  }

  #sound() {
    const audio = this.#audio;
    if (audio?.state !== "running") return;
    for (const { at, hertz } of TONES) {
      const start = audio.currentTime + at;
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      tone.type = "sine";
      tone.frequency.value = hertz;
      volume.gain.setValueAtTime(0, start);
      volume.gain.linearRampToValueAtTime(0.08, start + 0.012);
      volume.gain.exponentialRampToValueAtTime(0.0005, start + 0.32);
      tone.connect(volume).connect(audio.destination);
      tone.start(start);
      tone.stop(start + 0.34);
    }
  }
}
