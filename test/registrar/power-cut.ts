/**
 * A power cut without the end of the process: whatever runs within one loses its disk and its connections right before
 * the step on the disk that it was told, and for good. Everybody else in the process has theirs.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync } from 'node:sqlite';
import tls from 'node:tls';

const cuts = new AsyncLocalStorage<PowerCut>();

export class PowerCut {
  /** Resolves when the power is off. */
  readonly off: Promise<'off'>;
  readonly #at: number;
  readonly #sockets = new Set<tls.TLSSocket>();
  readonly #tellOff: () => void;
  #steps = 0;
  #isOff = false;

  /** @param at - 1: before the first step */
  constructor(at: number) {
    const { promise, resolve } = Promise.withResolvers<'off'>();
    this.#at = at;
    this.off = promise;
    this.#tellOff = () => resolve('off');
  }

  within<Result>(work: () => Result): Result {
    return cuts.run(this, work);
  }

  /** Now, wherever it is. */
  cut(): void {
    this.#isOff = true;
    for (const socket of this.#sockets) socket.destroy(powerFailure());
    this.#tellOff();
  }

  step(): void {
    this.#steps += 1;
    if (this.#steps === this.#at) this.cut();
    this.requirePower();
  }

  requirePower(): void {
    if (this.#isOff) throw powerFailure();
  }

  connected(socket: tls.TLSSocket): void {
    this.#sockets.add(socket);
    if (this.#isOff) socket.destroy(powerFailure());
  }
}

function powerFailure(): Error {
  return Object.assign(new Error('the power is off'), { code: 'EIO', syscall: 'write' });
}

function before<Arguments extends unknown[], Result>(
  check: (cut: PowerCut) => void,
  work: (...given: Arguments) => Result,
): (...given: Arguments) => Result {
  return (...given) => {
    const cut = cuts.getStore();
    if (cut !== undefined) check(cut);
    return work(...given);
  };
}

const takeStep = (cut: PowerCut): void => cut.step();
const needPower = (cut: PowerCut): void => cut.requirePower();
fs.renameSync = before(takeStep, fs.renameSync);
fs.rmSync = before(takeStep, fs.rmSync);
fs.writeSync = before(needPower, fs.writeSync as (...given: unknown[]) => number);
fs.mkdirSync = before(needPower, fs.mkdirSync as (...given: unknown[]) => undefined);
const fsyncSync = fs.fsyncSync;
fs.fsyncSync = (descriptor) => {
  // A file that is replaced is covered by its rename; what is appended to has no other step.
  if (!fs.fstatSync(descriptor).isDirectory()) cuts.getStore()?.step();
  fsyncSync(descriptor);
};
const connect = tls.connect as (...given: unknown[]) => tls.TLSSocket;
tls.connect = (...given: unknown[]) => {
  const socket = connect(...given);
  cuts.getStore()?.connected(socket);
  return socket;
};
syncBuiltinESMExports();

const exec: (this: DatabaseSync, sql: string) => void = Reflect.get(DatabaseSync.prototype, 'exec');
DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string): void {
  if (sql === 'COMMIT') cuts.getStore()?.step();
  exec.call(this, sql);
};
