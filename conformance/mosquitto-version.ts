/** Mosquitto's test files hold both protocol versions; this leaves the one that is asked for. */

/** Lines such as `do_test(proto_ver=4)`, `do_test(5, True)`, `do_test(port, proto_ver=5)`. */
const callPattern = /^[ \t]*do_test\((?:(\d)\b(?!\d)|[^\n]*proto_ver=(\d))[^\n]*\)[ \t]*$/gm;
const loopPattern = /for proto_ver in \[([\d, ]+)\]/g;
/** Anything that makes packets of version 5 outside of what the two patterns cover. */
const fixedFive = /proto_ver *= *5/;
const variable = /proto_ver=proto_ver/;

/**
 * @returns the script with the calls of the other version taken out, or undefined if nothing is left for this one.
 *   MQTT 3.1 counts as 3.1.1.
 */
export function onlyVersion(script: string, version: 3 | 5): string | undefined {
  const isWanted = (digit: string): boolean => (digit === '5') === (version === 5);
  let dropped = 0;
  let kept = 0;
  const withCalls = script.replaceAll(callPattern, (line, positional?: string, named?: string) => {
    const digit = positional ?? named ?? '';
    if (!/[345]/.test(digit)) return line;
    if (isWanted(digit)) {
      kept++;
      return line;
    }
    dropped++;
    // A block must not become empty.
    return `${/^[ \t]*/.exec(line)?.[0] ?? ''}pass`;
  });
  const result = withCalls.replaceAll(loopPattern, (_loop, list: string) => {
    const digits = list.split(',').map((digit) => digit.trim());
    const wanted = digits.filter(isWanted);
    kept += wanted.length;
    dropped += digits.length - wanted.length;
    return `for proto_ver in [${wanted.join(', ')}]`;
  });
  if (kept > 0) return result;
  if (dropped > 0 && variable.test(script)) return undefined;
  return fixedFive.test(script) === (version === 5) ? result : undefined;
}

/** The same for the files of packet sequences; `ver` stands in the group or the test, and is 4 where it does not. */
export function onlyVersionOfSequences(json: string, version: 3 | 5): string {
  const groups = JSON.parse(json) as { ver?: number; tests: { ver?: number }[] }[];
  return JSON.stringify(
    groups
      .map((group) => ({
        ...group,
        tests: group.tests.filter((test) => ((test.ver ?? group.ver ?? 4) === 5) === (version === 5)),
      }))
      .filter(({ tests }) => tests.length > 0),
  );
}
