import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BlockCoverage } from '../../fuzz/coverage.ts';
import type { Subject } from '../../fuzz/loop.ts';
import { fuzzLoop } from '../../fuzz/loop.ts';

/** Numbers in turn, of which some are wrong. */
class Numbers implements Subject<number> {
  readonly seeds = [-1];
  readonly corpusSize = 0;
  #next = 0;
  readonly #isWrong: (number: number) => boolean;

  constructor(isWrong: (number: number) => boolean) {
    this.#isWrong = isWrong;
  }

  next(): number {
    return this.#next++;
  }

  faultOf(number: number): string | undefined {
    return this.#isWrong(number) ? `${number} is wrong` : undefined;
  }

  repeat(): void {}

  keep(): void {}
}

const coverage = new BlockCoverage([]);
before(() => coverage.start());
after(() => coverage.stop());

test('fuzzLoop: runs seeds and batches until told to end, and tells every finding', () => {
  const found: string[] = [];
  const end = fuzzLoop(new Numbers((number) => number === -1 || number === 70), coverage, {
    isDone: ({ executions }) => executions > 100,
    onFound: ({ why }) => found.push(why),
  });
  assert.deepEqual(found, ['-1 is wrong', '70 is wrong']);
  assert.partialDeepStrictEqual(end, { executions: 129, findings: 2 });
});

test('fuzzLoop: ends by itself when there is too much to tell', () => {
  const end = fuzzLoop(new Numbers(() => true), coverage, {
    isDone: () => false,
    onFound: () => undefined,
  });
  assert.equal(end.findings, 65); // the seed and the first batch
});
