/** A name for a socket in a folder whatever the length of its path, of which the system takes 107 bytes (unix(7)). */
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';

const nameBytesMax = 107;

export interface SocketName {
  readonly name: string;
  /** The name means nothing any more. */
  release(): void;
}

/** @throws the system's error if there is no such folder */
export function socketName(file: string): SocketName {
  if (Buffer.byteLength(file) <= nameBytesMax || process.platform !== 'linux')
    return { name: file, release: () => undefined };
  const folder = openSync(path.dirname(file), 'r');
  // The folder is the same by this name, and nobody else's process has it.
  return {
    name: `/proc/self/fd/${folder}/${path.basename(file)}`,
    release: () => closeSync(folder),
  };
}
