/** The version of this package, read from its package.json beside the sources or above the compiled files. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** @returns for example `0.1.0` */
export function packageVersion(): string {
  const candidates = ['..', '../..'].map((up) => path.resolve(import.meta.dirname, up, 'package.json'));
  const file = candidates.find((candidate) => existsSync(candidate));
  if (file === undefined) throw new Error('cannot find package.json of plombe');
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return version;
}
