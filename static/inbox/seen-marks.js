// @ts-check
/**
 * Tells chatd what was seen: the first at once, the rest together.
 *
 * Somebody who scrolls through fifty messages sees fifty; told one by one they would use up the commands that chatd
 * takes in ten seconds, and the reply that follows would have to wait.
 */

/** Seldom enough for any scrolling, often enough for the other tabs' counts. */
export const TOGETHER_MS = 1_000;

export class SeenMarks {
  /** @type {{conversation: string, position: number} | null} */
  #untold = null;
  #waiting = false;

  /** @param {(mark: {conversation: string, position: number}) => void} tell */
  constructor(tell) {
    this.tell = tell;
  }

  /** @param {string} conversation @param {number} position */
  note(conversation, position) {
    if (this.#untold && this.#untold.conversation !== conversation) this.flush();
    this.#untold = { conversation, position };
    if (!this.#waiting) this.#next();
  }

  /** Tells now what waits; for when the conversation or the page is left. */
  flush() {
    const mark = this.#untold;
    this.#untold = null;
    if (mark) this.tell(mark);
  }

  #next() {
    this.#waiting = this.#untold !== null;
    if (!this.#waiting) return;
    this.flush();
    setTimeout(() => this.#next(), TOGETHER_MS);
  }
}
