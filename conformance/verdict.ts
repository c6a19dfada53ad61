/** What became of each test, and the table of it. */

export type Outcome =
  | 'passed'
  | 'failed'
  | 'other choice' // the standard leaves it open, and the suite checks what its broker chose
  | 'not applicable';

export interface Verdict {
  readonly test: string;
  readonly outcome: Outcome;
  /** Why it failed or does not apply; of a passed one, what is worth a remark. */
  readonly remark?: string | undefined;
  /** All that the test printed. */
  readonly output?: string | undefined;
}

/** Prints one line a test and the sums. */
export function printVerdicts(verdicts: readonly Verdict[]): void {
  const width = Math.max(...verdicts.map(({ test }) => test.length));
  for (const { test, outcome, remark } of verdicts) {
    console.log(`${test.padEnd(width)}  ${outcome}${remark === undefined ? '' : `: ${remark}`}`);
  }
  const count = (wanted: Outcome): number => verdicts.filter(({ outcome }) => outcome === wanted).length;
  console.log(
    `\n${verdicts.length} tests: ${count('passed')} passed, ${count('failed')} failed, ` +
      `${count('other choice')} other choices, ${count('not applicable')} not applicable`,
  );
}
