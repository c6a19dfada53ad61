/**
 * `npm run fuzz -- [open|inspect|all] [--minutes N] [--seed S]`: hostile input for everything that reads it.
 *
 * Ends with 1 if anything was found; the input is then in `.plombe/fuzz/`, with the command that repeats it.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fuzz, reproduce } from './fuzzer.ts';
import type { Finding, Progress } from './fuzzer.ts';
import { targetNames } from './target-names.ts';
import type { TargetName } from './target-names.ts';

const folder = path.resolve(import.meta.dirname, '../.plombe/fuzz');
const progressMs = 5_000;
const usage = `usage: npm run fuzz -- [open|inspect|all] [--minutes N] [--seed S]
       npm run fuzz -- --input FILE --target TARGET --reader READER
TARGET is one of: ${targetNames.join(', ')}`;

const groups: Readonly<Record<string, readonly TargetName[]>> = {
  open: ['open', 'anonymous'],
  inspect: ['inspect'],
  all: ['open', 'open', 'open', 'inspect', 'anonymous', 'sign', 'certificate', 'crl'],
};

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: '1' },
      input: { type: 'string' },
      target: { type: 'string', default: 'open' },
      reader: { type: 'string', default: 'backend 0' },
    },
  });
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  const targets = groups[positionals[0] ?? 'all'];
  const target = targetNames.find((name) => name === values.target);
  if (targets === undefined || target === undefined || !(minutes > 0) || !Number.isInteger(seed)) {
    console.error(usage);
    return 2;
  }
  return values.input === undefined
    ? run(targets, minutes * 60_000, seed)
    : repeat(values.input, target, values.reader);
}

async function repeat(file: string, target: TargetName, reader: string): Promise<number> {
  const why = await reproduce(target, reader, readFileSync(file));
  console.log(why ?? 'nothing is wrong with it');
  return why === undefined ? 0 : 1;
}

async function run(targets: readonly TargetName[], durationMs: number, seed: number): Promise<number> {
  const start = performance.now();
  let reported = start;
  let before = 0;
  const isDone = (progress: Progress): boolean => {
    const now = performance.now();
    if (now - reported >= progressMs) {
      const perSecond = ((progress.executions - before) * 1000) / (now - reported);
      console.log(`${secondsOf(now - start)} s  ${perSecond.toFixed(0)} executions/s  ${describe(progress)}`);
      [reported, before] = [now, progress.executions];
    }
    return now - start >= durationMs;
  };
  console.log(`fuzz: ${[...new Set(targets)].join(', ')}, seed ${seed}`);
  const end = await fuzz({ targets, seed, isDone, onFinding: save });
  const tookMs = performance.now() - start;
  const perSecond = (end.executions * 1000) / tookMs;
  console.log(
    `fuzz: ${end.executions} executions in ${secondsOf(tookMs)} s (${perSecond.toFixed(0)}/s), ${describe(end)}`,
  );
  return end.findings.length === 0 ? 0 : 1;
}

function describe({ corpus, blocks, findings }: Progress): string {
  return `corpus ${corpus}  blocks ${blocks.reached} of ${blocks.known}  findings ${findings.length}`;
}

function secondsOf(ms: number): string {
  return (ms / 1000).toFixed(0);
}

function save({ target, reader, why, input }: Finding): void {
  mkdirSync(folder, { recursive: true });
  const digest = createHash('sha256').update(input).digest('hex').slice(0, 16);
  const file = path.join(folder, `${target}-${digest}.der`);
  writeFileSync(file, input);
  console.log(`FOUND by ${target}, reader ${reader}: ${why}`);
  console.log(
    `  npm run fuzz -- --input ${path.relative(process.cwd(), file)} --target ${target} --reader '${reader}'`,
  );
}

process.exitCode = await main();
