/** Random numbers that are the same for the same seed. */

/** @returns a number in [0, 1) */
export type Random = () => number;

/**
 * A 32-bit linear congruential sequence with a mixing step over its output: quick, 2^32 long, good enough for noise,
 * of no use for secrets.
 *
 * @param seed - any integer
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    // Multiplier and increment: Press et al., Numerical Recipes, 3rd edition, §7.1.7 (quick and dirty generators).
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x45d9f3b);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x2c1b3c6d);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** @returns about normal with standard deviation `sigma`, and never beyond three of them (the sum of three uniform numbers) */
export function boundedNoise(random: Random, sigma: number): number {
  return 2 * sigma * (random() + random() + random() - 1.5);
}
