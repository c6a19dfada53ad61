/** Notices that files have changed, on any file system, network and container volumes included. */
import { statSync } from 'node:fs';

/**
 * Looks every `everyMs`, for no notification of the system reaches every file system. Calls back once a change has
 * settled: two looks in a row see the same, so whoever is still writing is not disturbed half-way.
 *
 * @param files - asked each time; one that is missing counts as changed when it is there
 * @returns a function that ends it
 */
export function watchFiles(
  files: () => readonly string[],
  onChange: () => void,
  everyMs: number,
): () => void {
  let known = fingerprint(files());
  let seen = known;
  const timer = setInterval(() => {
    const now = fingerprint(files());
    const isSettled = now === seen;
    seen = now;
    if (!isSettled || now === known) return;
    known = now;
    onChange();
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}

function fingerprint(files: readonly string[]): string {
  return files.map((file) => `${file} ${stateOf(file)}`).join('\n');
}

function stateOf(file: string): string {
  try {
    const { ino, size, mtimeNs } = statSync(file, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch (error) {
    // Not there, or not for us: whoever reads it says so; that it changed is all that counts here.
    return error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
  }
}
