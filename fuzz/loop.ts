/** The loop: run changed inputs, keep those that reached something new, collect those that went wrong. */
import type { BlockCoverage } from './coverage.ts';

/** What is fuzzed: where inputs come from, and what is to hold of each. */
export interface Subject<Trial> {
  /** Run first; they also make what is compiled or cached at first use, so that no input is charged with it. */
  readonly seeds: readonly Trial[];
  /** A changed input that was kept. */
  next(): Trial;
  /** @returns what is wrong with one, if anything */
  faultOf(trial: Trial): string | undefined;
  /** The same without looking whether anything is wrong. */
  repeat(trial: Trial): void;
  /** It reached something new. */
  keep(trial: Trial): void;
  /** How many inputs are kept. */
  readonly corpusSize: number;
}

export interface Found<Trial> {
  readonly trial: Trial;
  readonly why: string;
}

export interface Progress {
  readonly executions: number;
  readonly corpus: number;
  readonly blocks: { readonly reached: number; readonly known: number };
  readonly findings: number;
}

export interface LoopOptions<Trial> {
  /** Asked after every batch. */
  readonly isDone: (progress: Progress) => boolean;
  /** Told of every finding at once. */
  readonly onFound: (found: Found<Trial>) => void;
}

/** How many inputs share a look at the coverage. */
const batchMax = 64;
const findingsMax = 20;

export function fuzzLoop<Trial>(
  subject: Subject<Trial>,
  coverage: BlockCoverage,
  { isDone, onFound }: LoopOptions<Trial>,
): Progress {
  let executions = 0;
  let findings = 0;
  const progress = (): Progress => ({
    executions,
    corpus: subject.corpusSize,
    blocks: coverage.blocks,
    findings,
  });
  const execute = (trial: Trial): void => {
    executions++;
    const why = subject.faultOf(trial);
    if (why === undefined) return;
    findings++;
    onFound({ trial, why });
  };
  for (const seed of subject.seeds) execute(seed);
  coverage.grew();
  for (let now = progress(); !isDone(now) && now.findings < findingsMax; now = progress()) {
    const batch = Array.from({ length: batchMax }, () => subject.next());
    for (const trial of batch) execute(trial);
    if (coverage.grew()) keepThoseThatGrow(subject, coverage, batch);
  }
  return progress();
}

/** Finds out by halves which inputs of a batch it was; what several reach is the first one's. */
function keepThoseThatGrow<Trial>(
  subject: Subject<Trial>,
  coverage: BlockCoverage,
  trials: readonly Trial[],
): void {
  const [first] = trials;
  if (trials.length === 1 && first !== undefined) return subject.keep(first);
  coverage.forgetLast();
  const middle = trials.length >> 1;
  for (const half of [trials.slice(0, middle), trials.slice(middle)]) {
    for (const trial of half) subject.repeat(trial);
    if (coverage.grew()) keepThoseThatGrow(subject, coverage, half);
  }
  return undefined;
}
