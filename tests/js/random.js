// @ts-check
/** Chance that can be had again: every failure prints its seed. */

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** 0 <= x < 1, by mulberry32. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, both ends included. */
  between(from, to) {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(list) {
    return list[this.between(0, list.length - 1)];
  }

  /** One of the keys, as often as its weight says. */
  weighted(weights) {
    let rest = this.next() * Object.values(weights).reduce((sum, weight) => sum + weight, 0);
    for (const [key, weight] of Object.entries(weights)) if ((rest -= weight) < 0) return key;
    throw new Error("no weights");
  }
}

/** Runs `body(random)` for many seeds; CHATD_TEST_SEED runs one of them alone. */
export async function forSeeds(count, body) {
  const only = process.env.CHATD_TEST_SEED;
  const seeds = only ? [Number(only)] : Array.from({ length: count }, (_, index) => index + 1);
  for (const seed of seeds) {
    try {
      await body(new Random(seed), seed);
    } catch (error) {
      error.message = `seed ${seed} (CHATD_TEST_SEED=${seed} repeats it): ${error.message}`;
      throw error;
    }
  }
}
