/** A disk that fails when told to: a library preloaded into the broker's process, which stands between it and fsync. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export type DiskFault =
  | 'fail' // every sync fails
  | 'before' // the process is killed right before the next sync
  | 'after'; // and right after it

export class DiskFaults {
  readonly #control: string;
  /** For the process of the broker. */
  readonly environment: Readonly<Record<string, string>>;

  /** @param directory - where the library is built */
  constructor(directory: string) {
    const library = path.join(directory, 'disk-faults.so');
    const source = path.join(import.meta.dirname, 'disk-faults.c');
    const { status, stderr } = spawnSync('gcc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    this.#control = path.join(directory, 'disk-faults.order');
    this.environment = { LD_PRELOAD: library, PLOMBE_TEST_DISK_FAULTS: this.#control };
  }

  begin(fault: DiskFault): void {
    writeFileSync(this.#control, fault);
  }

  end(): void {
    rmSync(this.#control, { force: true });
  }
}
