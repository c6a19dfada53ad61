/** The demo itself is killed with SIGKILL: does it leave processes behind? */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { childrenOf, startPlombe, until } from './process.ts';

test('demo: killed while its programs start, it leaves none of them behind', async (context) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-abandoned-'));
  const demo = startPlombe(['demo', '--dir', path.join(directory, 'demo')]);
  let programs: readonly number[] = [];
  context.after(() => {
    demo.process.kill('SIGKILL');
    for (const pid of programs.filter(isAlive)) process.kill(pid, 'SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });
  await until('every program was started', () => {
    programs = [...childrenOf(demo.process.pid ?? 0).values()];
    return programs.length === 14;
  });
  demo.process.kill('SIGKILL');
  await until('none is left', () => !programs.some(isAlive));
  assert.equal(demo.process.signalCode, 'SIGKILL');
});

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}
