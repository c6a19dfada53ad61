/** Durations as BPMN timers state them (ISO 8601 §5.5.2.2), for example `P2D` or `PT1H30M`. */

const pattern =
  /^P(?=.)(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T(?=\d)(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?$/;
const weekMs = 604_800_000;
const dayMs = 86_400_000;

/**
 * Years and months are refused, because their length depends on when they begin.
 *
 * @returns milliseconds, or undefined if `text` is no such duration
 */
export function parseDurationMs(text: string): number | undefined {
  const match = pattern.exec(text.trim());
  if (match === null) return undefined;
  const [, weeks, days, hours, minutes, seconds] = match.map((part) => Number(part ?? 0));
  return (
    (weeks ?? 0) * weekMs +
    (days ?? 0) * dayMs +
    (hours ?? 0) * 3_600_000 +
    (minutes ?? 0) * 60_000 +
    (seconds ?? 0) * 1000
  );
}
