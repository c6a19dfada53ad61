/** Hostile octets for the broker's packet reader, as `npm run fuzz -- packets`, and whether the memory of it grows. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { fuzzPackets } from '../fuzz/packets.ts';
import type { Outcome, SoakOptions } from './outcome.ts';

const progressMs = 5000;
/** The corpus and the coverage are made by then. */
const warmShare = 0.25;
/** Of what is in use after a collection: beyond this it is a leak, and not the corpus. */
const growthBytesMax = 32 * 1024 ** 2;

export async function soakFuzz({ minutes, seed, onProgress }: SoakOptions): Promise<Outcome> {
  const startMs = performance.now();
  const durationMs = minutes * 60_000;
  const violations: string[] = [];
  let reportedMs = startMs;
  let warmBytes: number | undefined;
  const end = await fuzzPackets({
    seed,
    onFinding: ({ why, input }) => violations.push(`${why}: ${input.toString('hex')}`),
    isDone: (progress) => {
      const elapsedMs = performance.now() - startMs;
      if (elapsedMs >= durationMs * warmShare) warmBytes ??= usedBytes();
      if (performance.now() - reportedMs >= progressMs) {
        reportedMs = performance.now();
        const { executions, corpus, blocks, findings } = progress;
        const reached = `${blocks.reached} of ${blocks.known} blocks`;
        onProgress(`${executions} inputs, corpus ${corpus}, ${reached}, ${findings} findings`);
      }
      return elapsedMs >= durationMs;
    },
  });
  const grownBytes = usedBytes() - (warmBytes ?? 0);
  if (grownBytes > growthBytesMax) violations.push(`memory grew by ${grownBytes} octets`);
  const { executions, corpus, blocks } = end;
  const grownKibibytes = Math.round(grownBytes / 1024);
  return { violations, figures: { executions, corpus, ...blocks, grownKibibytes } };
}

/** @returns bytes in use after a collection */
function usedBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
