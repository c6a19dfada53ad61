import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { openRecord } from '../../auditor/record.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import { verifyLedger } from '../../ledger/verify.ts';
import { makeParties, owner, timeMs } from '../ledger/written.ts';

const kills = 4;

/** @returns the last number that it acknowledged before it was killed */
async function killedAfter(lines: number, directory: string, identity: string): Promise<number> {
  const writer = path.join(import.meta.dirname, 'ledger-writer.ts');
  const child = spawn(process.execPath, [writer, directory, identity], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    if (text.split('\n').length > lines) child.kill('SIGKILL');
  });
  await once(child, 'close');
  const acknowledged = text.split('\n').slice(0, -1);
  return Number(acknowledged.at(-1) ?? 0);
}

test('record: killed again and again while it appends, everything that was acknowledged is in it, once and in order', async (context) => {
  const { folder, roots } = await makeParties(context);
  const directory = path.join(folder, 'data');
  const scope = parseNamespacePath(owner) ?? assert.fail();
  for (let kill = 0; kill < kills; kill++) {
    // Also without the index, which is made again.
    if (kill % 3 === 2) {
      for (const end of ['', '-wal', '-shm'])
        rmSync(path.join(directory, `auditor.sqlite${end}`), { force: true });
    }
    const acknowledged = await killedAfter(1 + kill * 3, directory, path.join(folder, owner));
    const record = openRecord(directory, scope, timeMs);
    assert.ok(record.counts().entries >= acknowledged, `${acknowledged} were acknowledged`);
    record.close();
    const { fault, passages, gaps, forks, tornBytes } = verifyLedger(path.join(directory, 'egress.ledger'), {
      roots,
    });
    assert.deepEqual([fault, gaps, forks, tornBytes], [undefined, [], [], 0]);
    assert.ok(passages >= acknowledged);
  }
});
