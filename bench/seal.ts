/**
 * Envelopes a CPU-second, 1 KiB each, against BouncyCastle 1.72 for Java on a warm JVM: ours bare (like with like), ours
 * signed with all attributes, and ours bare without WebAssembly (noble). Both sides take turns in short rounds, so that a
 * noisy machine disturbs both, and the median of the rounds counts. CPU time is that of the whole process on both sides,
 * garbage collection included.
 */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { curveNames } from '../pki/certificate.ts';
import type { CurveName } from '../pki/certificate.ts';
import { makeIdentity } from '../test/cms/identities.ts';
import {
  measureStockOpen,
  measureStockSeal,
  sealStock,
  startBouncyCastle,
} from '../test/cms/interop/bouncy-castle.ts';
import type { BouncyCastle, CpuTime, StockSealing } from '../test/cms/interop/bouncy-castle.ts';
import { medianOf, wholeText } from './figures.ts';
import type { Asked, Cell, Floor, MemoryCost } from './seal-process.ts';

interface Effort {
  readonly rounds: number;
  /** For a figure in a round. */
  readonly cpuMs: number;
  /** Before the first round; for Java's compilers many times more than for ours. */
  readonly ourWarmUpMs: number;
  readonly javaWarmUpMs: number;
  readonly originators: number;
}

const fullEffort: Effort = {
  rounds: 9,
  cpuMs: 250,
  ourWarmUpMs: 500,
  javaWarmUpMs: 4000,
  originators: 10_000,
};
const quickEffort: Effort = { rounds: 1, cpuMs: 50, ourWarmUpMs: 50, javaWarmUpMs: 200, originators: 500 };

interface Row {
  readonly operation: 'seal' | 'open';
  readonly recipients: number;
}

const rows: readonly Row[] = [
  { operation: 'seal', recipients: 1 },
  { operation: 'seal', recipients: 3 },
  { operation: 'seal', recipients: 10 },
  { operation: 'open', recipients: 1 },
];
/** Times BouncyCastle, row by row: what the fastest prototype reached. */
const bareGoals: Partial<Readonly<Record<CurveName, readonly number[]>>> = {
  'P-256': [6, 4.8, 3.9, 2.5],
  'P-384': [3.2, 3.8, 4.7, 2.3],
  'P-521': [4.5, 5.7, 6.4, 3.2],
};
/** With the signature, against BouncyCastle without one. */
const signedGoals: Partial<Readonly<Record<CurveName, readonly (number | undefined)[]>>> = {
  'P-256': [5, undefined, undefined, 1.8],
};
const floors: readonly Floor[] = ['ECDH', 'ECDSA sign', 'ECDSA verify', 'AES-256-GCM 1 KiB', 'AES key wrap'];
const hashes: Readonly<Record<CurveName, string>> = {
  'P-256': 'sha256',
  'P-384': 'sha384',
  'P-521': 'sha512',
  brainpoolP256r1: 'sha256',
  brainpoolP384r1: 'sha384',
  brainpoolP512r1: 'sha512',
};
const contentBytes = 1024;
const envelopesInTurn = 16;

/** Operations a CPU-second, one for each round. */
type Rates = number[];

interface Figures {
  readonly java: Rates;
  readonly bare: Rates;
  readonly signed: Rates;
  readonly portable: Rates;
}

/**
 * @param args - curves, by default all; `--quick`: less than a minute, to try the bench itself out. Its figures mean little:
 *   Java is not warm yet
 */
export async function run(args: readonly string[]): Promise<void> {
  const effort = args.includes('--quick') ? quickEffort : fullEffort;
  const named = curveNames.filter((curve) => args.includes(curve));
  const ours = startOurs();
  const portable = startOurs('portable');
  try {
    await reportFloors(ours, effort);
    console.log(`\n1 KiB, Node ${process.versions.node}, BouncyCastle 1.72\n${heading}`);
    for (const curve of named.length > 0 ? named : curveNames) {
      // A JVM for each curve: one that has seen several curves is slower on all of them.
      const java = await startBouncyCastle('-XX:+UseParallelGC');
      try {
        await reportCurve(curve, { java, ours, portable }, effort);
      } finally {
        await java.stop();
      }
    }
    await reportHybrid(ours, effort);
    await reportSizes(ours);
    await reportMemory(effort);
  } finally {
    ours.stop();
    portable.stop();
  }
}

interface Ours {
  ask<Answer>(asked: Asked): Promise<Answer>;
  stop(): void;
}

function startOurs(...args: readonly string[]): Ours {
  const child = fork(path.join(import.meta.dirname, 'seal-process.ts'), args, { execArgv: ['--expose-gc'] });
  const ended = new AbortController();
  child.once('exit', () => ended.abort());
  return {
    async ask<Answer>(asked: Asked): Promise<Answer> {
      child.send(asked);
      const [answer] = (await once(child, 'message', { signal: ended.signal })) as [Answer];
      return answer;
    },
    stop: () => child.disconnect(),
  };
}

interface Sides {
  readonly java: BouncyCastle;
  readonly ours: Ours;
  readonly portable: Ours;
}

async function reportCurve(curve: CurveName, sides: Sides, effort: Effort): Promise<void> {
  const measureJava = await javaOperations(curve, sides.java);
  const all: Figures[] = rows.map(() => ({ java: [], bare: [], signed: [], portable: [] }));
  for (let round = 0; round <= effort.rounds; round++) {
    const isWarmUp = round === 0;
    for (const [index, row] of rows.entries()) {
      const figures = all[index];
      if (figures === undefined) continue;
      const cpuMs = isWarmUp ? effort.ourWarmUpMs : effort.cpuMs;
      const ask = (side: Ours, form: Cell['form']): Promise<CpuTime> =>
        side.ask({ kind: 'cell', cell: { curve, form, ...row }, cpuMs });
      const found = {
        java: await measureJava(row, isWarmUp ? effort.javaWarmUpMs : effort.cpuMs),
        bare: await ask(sides.ours, 'bare'),
        signed: await ask(sides.ours, 'signed'),
        portable: await ask(sides.portable, 'bare'),
      };
      if (isWarmUp) continue;
      for (const side of ['java', 'bare', 'signed', 'portable'] as const)
        figures[side].push(rateOf(found[side]));
    }
  }
  for (const [index, row] of rows.entries()) {
    const figures = all[index];
    if (figures === undefined) continue;
    console.log(lineOf(curve, row, figures, bareGoals[curve]?.[index], signedGoals[curve]?.[index]));
  }
}

async function javaOperations(curve: CurveName, java: BouncyCastle) {
  const originator = makeIdentity('ms-acc-1/acc-1/dev-1', curve).recipient;
  const readers = Array.from({ length: 10 }, (_, index) => makeIdentity(`ms-acc-${index}`, curve).recipient);
  const [reader] = readers;
  if (reader === undefined) throw new Error('no reader');
  const sealingFor = (recipients: number): StockSealing => ({
    hash: hashes[curve],
    keyBytes: 32,
    originator,
    recipients: readers.slice(0, recipients).map(({ certificate }) => certificate),
    content: randomBytes(contentBytes),
  });
  const envelopes: Buffer[] = [];
  while (envelopes.length < envelopesInTurn) envelopes.push(await sealStock(java, sealingFor(1)));
  return ({ operation, recipients }: Row, cpuMs: number): Promise<CpuTime> =>
    operation === 'seal'
      ? measureStockSeal(java, sealingFor(recipients), cpuMs)
      : measureStockOpen(java, envelopes, reader, cpuMs);
}

/** Widths of a line's cells: curve, operation, BouncyCastle, then rate, ratio and goal of ours, twice, and the rest. */
const widths = [15, 10, 13, 10, 8, 14, 10, 8, 14, 9, 7];
const heading = [
  tableLine(['', '', 'BouncyCastle', 'ours bare', '', '', ' signed', '', '', ' noble', '']),
  tableLine([
    'curve',
    'operation',
    'a CPU-s',
    'a CPU-s',
    'ratio',
    '  goal',
    'a CPU-s',
    'ratio',
    '  goal',
    'a CPU-s',
    'ratio',
  ]),
].join('\n');

function lineOf(
  curve: CurveName,
  row: Row,
  figures: Figures,
  bareGoal?: number,
  signedGoal?: number,
): string {
  const java = medianOf(figures.java);
  const side = (rates: Rates): [string, string] => {
    const rate = medianOf(rates);
    return [wholeText(rate), ratioText(rate / java)];
  };
  return tableLine([
    curve,
    nameOf(row),
    wholeText(java),
    ...side(figures.bare),
    goalText(medianOf(figures.bare) / java, bareGoal),
    ...side(figures.signed),
    goalText(medianOf(figures.signed) / java, signedGoal),
    ...side(figures.portable),
  ]);
}

function nameOf({ operation, recipients }: Row): string {
  return operation === 'seal' ? `seal n=${recipients}` : 'open';
}

/** Numbers to the right, words to the left. */
function tableLine(cells: readonly string[]): string {
  return cells
    .map((cell, index) => {
      const width = widths[index] ?? 0;
      return index < 2 || cell.startsWith('  ') ? cell.padEnd(width) : cell.padStart(width);
    })
    .join(' ')
    .trimEnd();
}

function ratioText(ratio: number): string {
  return `${ratio.toFixed(2)} ×`;
}

function goalText(ratio: number, goal: number | undefined): string {
  return goal === undefined ? '  ' : `  ${goal.toFixed(1)} ${ratio >= goal ? 'reached' : 'missed'}`;
}

async function reportFloors(ours: Ours, effort: Effort): Promise<void> {
  console.log('floors of this machine, P-256, operations a CPU-second');
  for (const floor of floors) {
    const rates: Rates = [];
    for (let round = 0; round < effort.rounds; round++) {
      rates.push(rateOf(await ours.ask<CpuTime>({ kind: 'floor', floor, cpuMs: effort.cpuMs })));
    }
    console.log(`  ${floor.padEnd(18)} ${wholeText(medianOf(rates)).padStart(9)}`);
  }
}

/** What a recipient costs that has an ML-KEM-768 key too; nobody needs to have one. */
async function reportHybrid(ours: Ours, effort: Effort): Promise<void> {
  console.log('\nP-256 signed, recipients with ML-KEM-768 as well, envelopes a CPU-second');
  for (const row of rows) {
    const cells = (['signed', 'hybrid'] as const).map((form): Cell => ({ curve: 'P-256', form, ...row }));
    const rates: Rates[] = cells.map(() => []);
    for (let round = 0; round <= effort.rounds; round++) {
      for (const [index, cell] of cells.entries()) {
        const cpuMs = round === 0 ? effort.ourWarmUpMs : effort.cpuMs;
        const rate = rateOf(await ours.ask<CpuTime>({ kind: 'cell', cell, cpuMs }));
        if (round > 0) rates[index]?.push(rate);
      }
    }
    const [without = 0, hybrid = 0] = rates.map(medianOf);
    const fraction = ratioText(hybrid / without);
    console.log(`  ${nameOf(row).padEnd(9)} ${wholeText(hybrid).padStart(7)}  ${fraction} the rate without`);
  }
}

async function reportSizes(ours: Ours): Promise<void> {
  console.log('\noctets over the content on P-256, no certificates inside');
  for (const recipients of [1, 3, 10]) {
    const sizeOf = (form: Cell['form']): Promise<number> =>
      ours.ask({ kind: 'size', cell: { curve: 'P-256', operation: 'seal', recipients, form } });
    const bare = sizeText(await sizeOf('bare'), 300 + 75 * recipients);
    const signed = sizeText(await sizeOf('signed'), 720 + 75 * recipients);
    console.log(`  n=${recipients}: bare ${bare}, signed ${signed}, with ML-KEM ${await sizeOf('hybrid')}`);
  }
}

function sizeText(octets: number, bound: number): string {
  return `${octets} (at most ${bound}: ${octets <= bound ? 'reached' : 'missed'})`;
}

async function reportMemory({ originators }: Effort): Promise<void> {
  const ours = startOurs();
  try {
    const cost = await ours.ask<MemoryCost>({ kind: 'memory', originators });
    const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    const microseconds = (seconds: number): string => `${Math.round((1e6 * seconds) / originators)} µs`;
    console.log(
      `\n${wholeText(originators)} originators on P-256, an envelope each: ` +
        `heap +${megabytes(cost.heapBytes)}, external +${megabytes(cost.externalBytes)}, ` +
        `resident +${megabytes(cost.residentBytes)}; ` +
        `${microseconds(cost.firstSeconds)} each the first time, ${microseconds(cost.againSeconds)} again`,
    );
  } finally {
    ours.stop();
  }
}

function rateOf({ operations, cpuSeconds }: CpuTime): number {
  return operations / cpuSeconds;
}
