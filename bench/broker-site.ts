/** What both brokers of the bench are given: the same certificates, the same access list, a folder that is gone afterwards. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { exportAcl } from '../broker/access/tacs-export.ts';
import { defaultRoles } from '../broker/access/roles.ts';
import { createAuthority } from '../pki/authority/authority.ts';

export interface BenchSite {
  readonly directory: string;
  /** Key directories of the brokers, as `plombe broker` wants them. */
  readonly brokerKeys: string;
  /** Of the customer's broker that cascades, and of the bridge. */
  readonly upKeys: string;
  /** `ca.crt`, and `NAME.crt` and `NAME.key` for `sub` and `pub0` to `pub19`: as both load generators want them. */
  readonly clientKeys: string;
  /** In the same folder, of many devices. */
  readonly deviceNames: readonly string[];
  readonly aclFile: string;
  /** The load generator in C; undefined without it or a compiler. */
  readonly mqload: string | undefined;
}

export const masterAccount = 'ma';
export const publishersMax = 20;
/** `%s` is `pub0` to `pub19`: a device publishes below its own path. */
export const topicPattern = `${masterAccount}/%s/eq/t`;
/** Not everything below: a broker that cascades says there how it is. */
export const topicFilter = `${masterAccount}/+/eq/t`;
export const brokerName = 'vendor-broker';

/** Where one of the many devices publishes, and nobody reads. */
export function deviceTopic(device: string): string {
  return `${devicePath(device)}/t`;
}

function devicePath(device: string): string {
  return `${masterAccount}/acc/${device}`;
}

const mqloadSource = path.resolve(import.meta.dirname, '../../shared/tools/mqload/mqload.c');

/** @param devices - how many of them to certify, beside the 20 that publish */
export async function makeBenchSite(devices: number): Promise<BenchSite> {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-bench-broker-'));
  const authority = createAuthority({ directory: path.join(directory, 'pki') });
  const issue = async (commonName: string, name: string, hosts?: readonly string[]): Promise<string> => {
    const outputDirectory = path.join(directory, 'keys', name);
    await authority.issue({ path: commonName, kinds: ['tls'], outputDirectory, ...(hosts && { hosts }) });
    return outputDirectory;
  };
  const brokerKeys = await issue(brokerName, 'broker', ['127.0.0.1', 'localhost']);
  const upKeys = await issue(masterAccount, 'up', ['127.0.0.1', 'localhost']);
  const clientKeys = path.join(directory, 'clients');
  mkdirSync(clientKeys);
  copyFileSync(path.join(brokerKeys, 'tls-root.crt.pem'), path.join(clientKeys, 'ca.crt'));
  const clients = Array.from({ length: publishersMax }, (_, index) => `pub${index}`);
  const deviceNames = Array.from({ length: devices }, (_, index) => `device-${index}`);
  for (const [name, commonName] of [
    ['sub', masterAccount],
    ...clients.map((client) => [client, `${masterAccount}/${client}/eq`] as const),
    ...deviceNames.map((device) => [device, devicePath(device)] as const),
  ] as const) {
    const keys = await issue(commonName, name);
    copyFileSync(path.join(keys, 'tls.chain.pem'), path.join(clientKeys, `${name}.crt`));
    copyFileSync(path.join(keys, 'tls.key.pem'), path.join(clientKeys, `${name}.key`));
  }
  const aclFile = path.join(directory, 'acl');
  writeFileSync(aclFile, exportAcl('mosquitto', defaultRoles));
  return {
    directory,
    brokerKeys,
    upKeys,
    clientKeys,
    deviceNames,
    aclFile,
    mqload: compileMqload(directory),
  };
}

export function removeBenchSite({ directory }: BenchSite): void {
  rmSync(directory, { recursive: true, force: true });
}

function compileMqload(directory: string): string | undefined {
  if (!existsSync(mqloadSource)) return undefined;
  const program = path.join(directory, 'mqload');
  const { status } = spawnSync('gcc', ['-O2', '-o', program, mqloadSource, '-lssl', '-lcrypto'], {
    stdio: 'ignore',
  });
  return status === 0 ? program : undefined;
}
