/** Messages, certificates and lists: what a reader of them is called with, and what is to hold of each call. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BlockCoverage } from './coverage.ts';
import { Generator } from './generator.ts';
import type { Progress, Subject } from './loop.ts';
import { fuzzLoop } from './loop.ts';
import { mutated } from './mutate.ts';
import type { resigned } from './resign.ts';
import { kinds } from './target-names.ts';
import type { TargetName } from './target-names.ts';
import type { Target } from './targets.ts';
import type { Reader, World } from './world.ts';

/** Issue "Bad input": no message takes more. */
const inputMsMax = 50;
const inputMemoryMax = 16 * 1024 * 1024;
/** A slow or a large one counts if it is so every time. */
const repetitions = 3;

export interface Finding {
  readonly target: TargetName;
  readonly reader: string;
  readonly why: string;
  readonly input: Buffer;
}

export interface FuzzOptions {
  readonly targets: readonly TargetName[];
  readonly seed: number;
  /** Asked after every batch. */
  readonly isDone: (progress: Progress) => boolean;
  /** Told of every finding at once. */
  readonly onFinding?: (finding: Finding) => void;
}

interface Entry {
  readonly octets: Buffer;
  readonly readers: readonly Reader[];
}

interface Trial {
  readonly target: TargetName;
  readonly reader: Reader;
  readonly input: Buffer;
  readonly parent: Entry;
}

interface Code {
  readonly world: World;
  readonly targets: Readonly<Record<TargetName, Target>>;
  readonly resigned: typeof resigned;
}

export async function fuzz(options: FuzzOptions): Promise<Progress> {
  const coverage = new BlockCoverage(['cms', 'pki']);
  coverage.start();
  try {
    return fuzzLoop(new Messages(options, await loadCode()), coverage, {
      isDone: options.isDone,
      onFound: ({ trial: { target, reader, input }, why }) =>
        options.onFinding?.({ target, reader: reader.name, why, input }),
    });
  } finally {
    coverage.stop();
  }
}

/** Calls one target with one input, as a run does. @returns what is wrong with it, if anything */
export async function reproduce(
  target: TargetName,
  readerName: string,
  input: Buffer,
): Promise<string | undefined> {
  const { world, targets } = await loadCode();
  const reader = world.readers.find(({ name }) => name === readerName);
  if (reader === undefined) throw new RangeError(`no reader is called ${readerName}`);
  return faultOf(targets[target], { reader, input });
}

/** Only now, so that what runs as it loads is counted too. */
async function loadCode(): Promise<Code> {
  const [{ loadWorld }, { targetsIn }, { resigned }] = await Promise.all([
    import('./world.ts'),
    import('./targets.ts'),
    import('./resign.ts'),
  ]);
  const world = loadWorld();
  return { world, targets: targetsIn(world), resigned };
}

class Messages implements Subject<Trial> {
  readonly seeds: readonly Trial[];
  readonly #targets: readonly TargetName[];
  readonly #code: Code;
  readonly #generator: Generator;
  readonly #corpus: Readonly<Record<'envelope' | 'certificate' | 'crl', Entry[]>>;
  readonly #donors: Readonly<Record<'envelope' | 'certificate' | 'crl', readonly Buffer[]>>;

  constructor({ targets, seed }: FuzzOptions, code: Code) {
    const { envelopes, certificates, crls, readers } = code.world;
    this.#targets = targets;
    this.#code = code;
    this.#generator = new Generator(seed);
    const plain = (octets: Buffer): Entry => ({ octets, readers: [] });
    this.#corpus = {
      envelope: envelopes.map(({ octets, readers: addressed }) => ({ octets, readers: addressed })),
      certificate: certificates.map(plain),
      crl: crls.map(plain),
    };
    this.#donors = {
      envelope: envelopes.map(({ octets }) => octets),
      certificate: certificates,
      crl: [...crls, ...certificates],
    };
    this.seeds = targets.flatMap((target) =>
      this.#corpus[kinds[target]].flatMap((parent) =>
        (parent.readers.length > 0 ? parent.readers : readers.slice(0, 1)).map((reader) => ({
          target,
          reader,
          input: parent.octets,
          parent,
        })),
      ),
    );
  }

  get corpusSize(): number {
    const { envelope, certificate, crl } = this.#corpus;
    return envelope.length + certificate.length + crl.length;
  }

  next(): Trial {
    const generator = this.#generator;
    const { world, resigned } = this.#code;
    const target = generator.pick(this.#targets);
    const kind = kinds[target];
    const entries = this.#corpus[kind];
    // What was found last is the least explored.
    const parent = generator.chance(0.3) ? generator.pick(entries.slice(-32)) : generator.pick(entries);
    const isAddressed = parent.readers.length > 0 && generator.chance(0.95);
    const reader = generator.pick(isAddressed ? parent.readers : world.readers);
    const donors = this.#donors[kind];
    const signer = world.signers.get(generator.chance(0.9) ? 'device' : 'auditor');
    const again =
      kind === 'envelope' && signer !== undefined && generator.chance(0.25)
        ? resigned(parent.octets, signer, donors, generator)
        : undefined;
    return { target, reader, input: again ?? mutated(parent.octets, donors, generator), parent };
  }

  faultOf(trial: Trial): string | undefined {
    return faultOf(this.#code.targets[trial.target], trial);
  }

  repeat({ target, reader, input }: Trial): void {
    this.#code.targets[target](input, reader);
  }

  keep({ target, input, parent }: Trial): void {
    this.#corpus[kinds[target]].push({ octets: input, readers: parent.readers });
  }
}

/** @returns what is wrong with a call, if it is so every time */
export function faultOf(
  target: Target,
  { reader, input }: Pick<Trial, 'reader' | 'input'>,
): string | undefined {
  const first = measured(target, input, reader);
  if (first.why !== undefined) return first.why;
  if (first.ms <= inputMsMax && first.bytes <= inputMemoryMax) return undefined;
  const again = Array.from({ length: repetitions }, () => {
    collectGarbage();
    return measured(target, input, reader);
  });
  const ms = Math.min(...again.map((one) => one.ms));
  const bytes = Math.min(...again.map((one) => one.bytes));
  if (ms > inputMsMax) return `took ${ms.toFixed(0)} ms`;
  if (bytes > inputMemoryMax) return `took ${bytes} octets of memory`;
  return undefined;
}

function measured(target: Target, input: Buffer, reader: Reader) {
  const bytesBefore = memoryBytes();
  const start = performance.now();
  const why = target(input, reader);
  return { why, ms: performance.now() - start, bytes: memoryBytes() - bytesBefore };
}

function memoryBytes(): number {
  const { used_heap_size: heap, external_memory: external, malloced_memory: malloced } = getHeapStatistics();
  return heap + external + malloced;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
