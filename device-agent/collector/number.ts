/** Numbers and times as text files write them. */

const numberPattern = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?$/;
/** Longer ones are ids or noise: no double has more than 17 significant digits. */
const numberLengthMax = 64;
/** ISO 8601 with a zone: without one, a time means something else on another machine. */
const timePattern = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})$/;
/** Seconds reach this in the year 5138; milliseconds passed it in 1973. */
const epochMsMin = 1e11;
const timeMsMax = 8.64e15; // ECMA-262 §21.4.1.1

/** @returns undefined for anything but a finite decimal number: no hexadecimal, no empty text, no `NaN` */
export function readNumber(text: string): number | undefined {
  if (text.length > numberLengthMax || !numberPattern.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/**
 * Reads ISO 8601 with a zone, or a number of seconds or milliseconds since 1970.
 *
 * @returns milliseconds since 1970, whole; undefined if it is no such time
 */
export function readTimeMs(text: string): number | undefined {
  const epoch = readNumber(text);
  if (epoch !== undefined) return epochTimeMs(epoch);
  if (!timePattern.test(text)) return undefined;
  const timeMs = Date.parse(text.replace(' ', 'T'));
  return timeMs > 0 ? timeMs : undefined;
}

/** Seconds or milliseconds, told apart by size. */
export function epochTimeMs(epoch: number): number | undefined {
  const timeMs = Math.round(epoch < epochMsMin ? epoch * 1000 : epoch);
  return timeMs > 0 && timeMs <= timeMsMax ? timeMs : undefined;
}
