/**
 * `npm run fuzz -- [open|inspect|all|packets] [--minutes N] [--seed S]`: hostile input for everything that reads it.
 *
 * Ends with 1 if anything was found; the input is then in `.plombe/fuzz/`, with the command that repeats it.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fuzz, reproduce } from './fuzzer.ts';
import type { Finding } from './fuzzer.ts';
import type { Progress } from './loop.ts';
import { fuzzPackets, reproducePackets } from './packets.ts';
import type { PacketFinding } from './packets.ts';
import { targetNames } from './target-names.ts';
import type { TargetName } from './target-names.ts';

const folder = path.resolve(import.meta.dirname, '../.plombe/fuzz');
const progressMs = 5_000;
const usage = `usage: npm run fuzz -- [open|inspect|all|packets] [--minutes N] [--seed S]
       npm run fuzz -- --input FILE --target TARGET --reader READER
       npm run fuzz -- packets --input FILE
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
  const isOfPackets = positionals[0] === 'packets';
  const targets = isOfPackets ? [] : groups[positionals[0] ?? 'all'];
  const target = targetNames.find((name) => name === values.target);
  if (targets === undefined || target === undefined || !(minutes > 0) || !Number.isInteger(seed)) {
    console.error(usage);
    return 2;
  }
  if (isOfPackets) {
    return values.input === undefined
      ? runPackets(minutes * 60_000, seed)
      : report(await reproducePackets(readFileSync(values.input)));
  }
  return values.input === undefined
    ? run(targets, minutes * 60_000, seed)
    : repeat(values.input, target, values.reader);
}

async function repeat(file: string, target: TargetName, reader: string): Promise<number> {
  return report(await reproduce(target, reader, readFileSync(file)));
}

function report(why: string | undefined): number {
  console.log(why ?? 'nothing is wrong with it');
  return why === undefined ? 0 : 1;
}

async function run(targets: readonly TargetName[], durationMs: number, seed: number): Promise<number> {
  console.log(`fuzz: ${[...new Set(targets)].join(', ')}, seed ${seed}`);
  return timed(durationMs, (isDone) => fuzz({ targets, seed, isDone, onFinding: save }));
}

async function runPackets(durationMs: number, seed: number): Promise<number> {
  console.log(`fuzz: packets, seed ${seed}`);
  return timed(durationMs, (isDone) => fuzzPackets({ seed, isDone, onFinding: savePackets }));
}

async function timed(
  durationMs: number,
  work: (isDone: (progress: Progress) => boolean) => Promise<Progress>,
): Promise<number> {
  const start = performance.now();
  let reported = start;
  let before = 0;
  const end = await work((progress) => {
    const now = performance.now();
    if (now - reported >= progressMs) {
      const perSecond = ((progress.executions - before) * 1000) / (now - reported);
      console.log(`${secondsOf(now - start)} s  ${perSecond.toFixed(0)} executions/s  ${describe(progress)}`);
      [reported, before] = [now, progress.executions];
    }
    return now - start >= durationMs;
  });
  const tookMs = performance.now() - start;
  const perSecond = (end.executions * 1000) / tookMs;
  console.log(
    `fuzz: ${end.executions} executions in ${secondsOf(tookMs)} s (${perSecond.toFixed(0)}/s), ${describe(end)}`,
  );
  return end.findings === 0 ? 0 : 1;
}

function describe({ corpus, blocks, findings }: Progress): string {
  return `corpus ${corpus}  blocks ${blocks.reached} of ${blocks.known}  findings ${findings}`;
}

function secondsOf(ms: number): string {
  return (ms / 1000).toFixed(0);
}

function save({ target, reader, why, input }: Finding): void {
  const file = saved(target, 'der', input);
  console.log(`FOUND by ${target}, reader ${reader}: ${why}`);
  console.log(`  npm run fuzz -- --input ${file} --target ${target} --reader '${reader}'`);
}

function savePackets({ why, input }: PacketFinding): void {
  console.log(`FOUND in packets: ${why}`);
  console.log(`  npm run fuzz -- packets --input ${saved('packets', 'raw', input)}`);
}

/** @returns the file's path, as for a command line */
function saved(name: string, extension: string, input: Buffer): string {
  mkdirSync(folder, { recursive: true });
  const digest = createHash('sha256').update(input).digest('hex').slice(0, 16);
  const file = path.join(folder, `${name}-${digest}.${extension}`);
  writeFileSync(file, input);
  return path.relative(process.cwd(), file);
}

process.exitCode = await main();
