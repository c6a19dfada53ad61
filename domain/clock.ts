/** Time is an argument, so that tests own it. */

/** @returns milliseconds since 1970-01-01T00:00:00Z */
export type Clock = () => number;

/** The machine's own clock. */
export const systemClock: Clock = () => Date.now();
