/** Does the story of a device in the README work for somebody who types it, word by word, in an empty directory? */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { plombe, script } from './process.ts';
import { moveToFreePorts } from './programs.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-typed-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const timeoutSeconds = 150;

function typedCommands(): string {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../README.md'), 'utf8');
  const [, story = ''] = /^### The life of a device$(.*?)^##/ms.exec(page) ?? [];
  return Array.from(story.matchAll(/^```sh\n(.*?)^```$/gms), ([, commands = '']) => commands).join('');
}

test('README: the life of a device, typed', async () => {
  const [first, ...rest] = typedCommands().split('\n');
  assert.equal(first, 'plombe init deployment && cd deployment');
  const deployment = path.join(directory, 'deployment');
  const { status: made, stderr } = await plombe('init', deployment);
  assert.equal(made, 0, stderr);
  const { vendor, customer } = await moveToFreePorts(deployment);
  const typed = rest.join('\n').replaceAll(':8883', `:${vendor}`).replaceAll(':8884', `:${customer}`);
  const command = path.join(directory, 'plombe');
  writeFileSync(command, `#!/bin/sh\nexec ${process.execPath} ${script} "$@"\n`, { mode: 0o755 });
  const file = path.join(directory, 'typed.sh');
  writeFileSync(file, `trap 'kill $(jobs -p)' EXIT\n${typed}`);
  const shell = spawn('timeout', [String(timeoutSeconds), 'bash', '-e', file], {
    cwd: deployment,
    env: {
      ...process.env,
      PATH: `${directory}:${process.env['PATH'] ?? ''}`,
      NODE_COMPILE_CACHE: path.join(directory, 'compiled'),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const output of [shell.stdout, shell.stderr])
    output.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [status] = (await once(shell, 'close')) as [number | null];
  assert.equal(status, 0, said);
  for (const what of [
    /^ms-acc-1\/acc-1\/dev-2: enrolled, identity in dev-2$/m,
    /^slot-a, in use$/m,
    /^ms-acc-1\/acc-1\/dev-3: enrolled, identity in dev-3$/m,
    /^revoked ms-acc-2\/acc-1\/dev-9 e2e sig /m,
    /^ms-acc-1\/acc-1\/dev-5 is a device, verified for tls-client$/m,
  ])
    assert.match(said, what);
});
