/**
 * Loaded before a program (`node --import`): kills its process with SIGKILL at the KILL_AT-th step that it takes on the
 * disk, before it takes it. What was done up to there is there, and nothing else.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync } from 'node:sqlite';

const killAt = Number(process.env['KILL_AT']);
let steps = 0;

function step(): void {
  steps += 1;
  if (steps === killAt) process.kill(process.pid, 'SIGKILL');
}

function before<Arguments extends unknown[], Result>(
  work: (...given: Arguments) => Result,
): (...given: Arguments) => Result {
  return (...given) => {
    step();
    return work(...given);
  };
}

fs.renameSync = before(fs.renameSync);
fs.rmSync = before(fs.rmSync);
const fsyncSync = fs.fsyncSync;
fs.fsyncSync = (descriptor) => {
  // A file that is replaced is covered by its rename; what is appended to has no other step.
  if (!fs.fstatSync(descriptor).isDirectory()) step();
  fsyncSync(descriptor);
};
syncBuiltinESMExports();

const exec: (this: DatabaseSync, sql: string) => void = Reflect.get(DatabaseSync.prototype, 'exec');
DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string): void {
  if (sql === 'COMMIT') step();
  exec.call(this, sql);
};
