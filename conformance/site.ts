/** The certificates of a run, and our broker as a suite needs it: open doors, wide limits, rights to everything. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { brokerConfigType } from '../broker/config.ts';
import { startBroker } from '../broker/main.ts';
import type { RunningBroker } from '../broker/main.ts';
import { createAuthority } from '../pki/authority/authority.ts';
import { loadTlsIdentity } from '../pki/identity.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import { createLog } from '../runtime/log.ts';

/** Who knocks at a door: one may do everything, the other may not read `test/nosubscribe`. */
export const visitors = { everything: 'MRO-Admin', restricted: 'vendor-visitor' } as const;
export type Visitor = keyof typeof visitors;

const brokerName = 'vendor-broker';

/** @returns a new directory with the keys of a broker and of the visitors */
export async function makeSite(): Promise<string> {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-conformance-'));
  const authority = createAuthority({ directory: path.join(directory, 'pki') });
  const issue = async (commonName: string, hosts?: readonly string[]): Promise<void> => {
    await authority.issue({
      path: commonName,
      kinds: ['tls'],
      outputDirectory: path.join(directory, commonName),
      ...(hosts && { hosts }),
    });
  };
  await issue(brokerName, ['127.0.0.1']);
  for (const commonName of Object.values(visitors)) await issue(commonName);
  return directory;
}

export function removeSite(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
}

export function identityOf(directory: string, visitor: Visitor): TlsIdentity {
  return loadTlsIdentity(path.join(directory, visitors[visitor]));
}

/** Suites open more sessions, and use longer names, than one certificate of a device ever would. */
const wideLimits = {
  perIdentity: { sessionsMax: 10_000, connectionsMax: 10_000 },
  clientIdLengthMax: 65_535,
  topicBytesMax: 65_535,
  topicLevelsMax: 201, // Mosquitto's own bound: 200 slashes
  connectBytesMax: 1024 ** 2,
  packetBytesMax: 268_435_460,
  keepAliveSecondsMax: 65_535,
};

/** @param settings - of the broker's configuration, on top of what every suite needs */
export function startSiteBroker(
  directory: string,
  data: string,
  {
    limits,
    ...settings
  }: { readonly limits?: Readonly<Record<string, number>>; readonly [key: string]: unknown },
  onLogLine: (line: string) => void,
): Promise<RunningBroker> {
  const config = brokerConfigType({ path: z.string(), existingPath: z.string() }).parse({
    name: 'conformance',
    listen: '127.0.0.1:0',
    identity: path.join(directory, brokerName),
    data,
    durability: 'os',
    // Suites publish to what begins with `$` and expect to stay connected.
    deniedPublish: 'drop',
    limits: { ...wideLimits, ...limits },
    roles: {
      [visitors.everything]: { publish: ['#'], subscribe: ['#', '$SYS/#'] },
      [visitors.restricted]: { publish: ['#'], subscribe: ['TopicA/#'] },
    },
    ...settings,
  });
  return startBroker(config, { log: createLog('broker', 'info', { write: onLogLine }) });
}
