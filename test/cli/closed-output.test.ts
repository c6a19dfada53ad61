import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import test from 'node:test';

test('plombe: a reader of its output who has seen enough is no failure', async () => {
  const cli = path.resolve(import.meta.dirname, '../../cli/main.ts');
  const child = spawn(process.execPath, [cli, 'pki', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  const [complaint, [status]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  assert.deepEqual({ complaint, status: status as unknown }, { complaint: '', status: 0 });
});
