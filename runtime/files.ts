/** Files that are either the old ones or the new ones after a power cut, never half of each. */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';

/**
 * Replaces a file: writes a neighbour, syncs it, renames it over, and syncs the folder.
 *
 * @param mode - 0o600 for anything secret
 */
export function writeFileAtomically(file: string, content: string | Uint8Array, mode = 0o644): void {
  const folder = path.dirname(file);
  mkdirSync(folder, { recursive: true });
  const neighbour = path.join(folder, `.${path.basename(file)}.${process.pid}.new`);
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  try {
    const descriptor = openSync(neighbour, 'w', mode);
    try {
      for (let written = 0; written < bytes.length;) written += writeSync(descriptor, bytes, written);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(neighbour, file);
  } catch (error) {
    rmSync(neighbour, { force: true });
    throw error;
  }
  syncFolder(folder);
}

/** Makes a rename or a creation inside `folder` durable. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
