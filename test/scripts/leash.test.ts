import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'node:test';
import { leashed } from '../../scripts/leash.ts';

const leash = path.resolve(import.meta.dirname, '../../scripts/leash.ts');
const pollMs = 20;

/** Starts one that would go on for ever, tells its process id, and goes on itself. */
const parent = `
import { spawn } from 'node:child_process';
import { exitOnSignals, leashed } from ${JSON.stringify(leash)};
exitOnSignals();
const child = spawn(...leashed(['sleep', 'infinity']), { stdio: ['pipe', 'ignore', 'ignore'] });
console.log(child.pid);
setInterval(() => undefined, 1000);
`;

/** One that has ended stays in the table until somebody asks for its status, which nobody may be there to do. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat[stat.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return false;
  }
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
  test(`leashed: a process ends when ${signal} ends the one that started it`, async () => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', parent], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    const pid = Number(line);
    assert(isAlive(pid));
    child.kill(signal);
    while (isAlive(pid)) await sleep(pollMs);
  });
}

test('leashed: the command has the process id, its prologue, its arguments and its own end', async () => {
  const command = leashed(['/bin/sh', '-c', 'echo $$ $FROM "$1"; exit 3', 'sh', 'an argument'], {
    prologue: 'export FROM=prologue',
  });
  const child = spawn(...command, { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  assert.equal(line, `${child.pid} prologue an argument`);
  assert.deepEqual(await closed, [3, null]);
});
