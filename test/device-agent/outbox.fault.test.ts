import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import test from 'node:test';
import { createInterface } from 'node:readline';
import { openOutbox } from '../../device-agent/outbox.ts';
import { seededRandom } from '../../device-agent/collector/random.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { temporaryFolder } from './collector/files.ts';

const device = parseDevicePath('ms-acc-1/acc-1/dev-1') ?? assert.fail();
const writer = path.join(import.meta.dirname, 'outbox-writer.ts');

/** Runs a writer, kills it as soon as it has acknowledged so many, and returns all that it acknowledged. */
async function acknowledgedUntilKilled(
  file: string,
  run: number,
  putsAtOnce: number,
  killAfter: number,
  deliver: string,
) {
  const child = spawn(process.execPath, [writer, file, String(run), String(putsAtOnce), deliver], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const acknowledged = new Map<number, string>();
  for await (const line of createInterface({ input: child.stdout })) {
    const [sequence = '', digest = ''] = line.split(' ');
    if (digest.length !== 64) continue; // the last line may be half a line
    acknowledged.set(Number(sequence), digest);
    if (acknowledged.size === killAfter) child.kill('SIGKILL');
  }
  await ended; // its output ends a moment before it gives up its files and their locks
  return acknowledged;
}

function survivors(file: string): Map<number, { digest: string; previous: string | null; run: string }> {
  const outbox = openOutbox({ file, envelopesMax: 100_000, whenFull: 'refuse' }, [device]);
  try {
    const { sealed } = outbox.counts(device);
    const entries = outbox.pendingAfter(device, 0, 100_000).map(({ sequence, envelope }) => {
      const stated = JSON.parse(envelope.toString());
      assert.equal(stated.sequence, sequence);
      assert.ok(sequence <= sealed);
      return [sequence, { ...stated, digest: createHash('sha256').update(envelope).digest('hex') }] as const;
    });
    return new Map(entries);
  } finally {
    outbox.close();
  }
}

test('Outbox: killed at any moment, it keeps what it acknowledged, reuses no number and breaks no chain', async (context) => {
  const file = path.join(temporaryFolder(context), 'outbox.sqlite');
  const random = seededRandom(42);
  const all = new Map<number, string>();
  for (let run = 0; run < 8; run++) {
    const killAfter = 1 + Math.floor(random() * 60);
    for (const [sequence, digest] of await acknowledgedUntilKilled(
      file,
      run,
      1 + (run % 4) * 5,
      killAfter,
      '',
    )) {
      assert.ok(!all.has(sequence), `run ${run}: number ${sequence} was given out a second time`);
      all.set(sequence, digest);
    }
    const kept = survivors(file);
    for (const [sequence, digest] of all)
      assert.equal(kept.get(sequence)?.digest, digest, `run ${run}: ${sequence}`);
    for (const [sequence, { previous }] of kept)
      assert.equal(previous, kept.get(sequence - 1)?.digest ?? null);
    assert.deepEqual(
      [...kept.keys()],
      Array.from(kept, (_, index) => index + 1),
      `run ${run}: a hole`,
    );
  }
});

test('Outbox: killed while it notes deliveries, it loses nothing that was not delivered', async (context) => {
  const file = path.join(temporaryFolder(context), 'outbox.sqlite');
  const all = new Map<number, string>();
  for (let run = 0; run < 3; run++) {
    for (const [sequence, digest] of await acknowledgedUntilKilled(file, run, 4, 50, 'deliver')) {
      assert.ok(!all.has(sequence), `number ${sequence} was given out a second time`);
      all.set(sequence, digest);
    }
    const kept = survivors(file);
    for (const [sequence, digest] of all) {
      if (sequence % 3 !== 0) assert.equal(kept.get(sequence)?.digest, digest, `run ${run}: ${sequence}`);
    }
  }
});
