/** Obtains a suite that somebody else wrote: a clone at a pinned commit, in a cache outside the tree. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

export type SuiteName = 'paho' | 'mosquitto';

interface Source {
  readonly url: string;
  /** The one that docs/conformance.md reports on. */
  readonly commit: string;
}

const sources: Readonly<Record<SuiteName, Source>> = {
  paho: {
    url: 'https://github.com/eclipse-paho/paho.mqtt.testing.git',
    commit: '9d7bb80bb8b9d9cfc0b52f8cb4c1916401281103',
  },
  mosquitto: {
    url: 'https://github.com/eclipse-mosquitto/mosquitto.git',
    commit: '7b8aba105b77253309de24664bbae69d0cae3da0',
  },
};

export interface Checkout {
  readonly directory: string;
  readonly commit: string;
}

/**
 * @param from - a repository to clone instead of the one on the network
 * @param commit - instead of the pinned one
 * @throws Error with what git said
 */
export function checkOut(name: SuiteName, from?: string, commit?: string): Checkout {
  const wanted = commit ?? sources[name].commit;
  const cache = path.join(
    process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'),
    'plombe-conformance',
  );
  const directory = path.join(cache, name);
  if (!existsSync(directory)) {
    mkdirSync(cache, { recursive: true });
    git(['clone', '--quiet', '--no-checkout', from ?? sources[name].url, directory]);
  }
  if (!isThere(directory, wanted)) git(['fetch', '--quiet', from ?? 'origin', wanted], directory);
  git(['checkout', '--quiet', '--force', '--detach', wanted], directory);
  return { directory, commit: git(['rev-parse', 'HEAD'], directory).trim() };
}

function isThere(directory: string, commit: string): boolean {
  return spawnSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: directory }).status === 0;
}

function git(args: readonly string[], cwd?: string): string {
  const { status, stdout, stderr } = spawnSync('git', args, { encoding: 'utf8', ...(cwd && { cwd }) });
  if (status !== 0) throw new Error(`git ${args.join(' ')} failed:\n${stderr}`);
  return stdout;
}
