/** Certificates, keys and folders of a soak, which are gone afterwards. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import { createAuthority } from '../pki/authority/authority.ts';
import type { Authority } from '../pki/authority/authority.ts';

/** PEM, as Node's TLS takes it. */
export interface Credentials {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}

export class SoakSite {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'plombe-soak-'));
  readonly #authority: Authority = createAuthority({ directory: path.join(this.directory, 'pki') });
  #identities = 0;

  /** @param hosts - for a broker */
  async issue(commonName: string, hosts?: readonly string[]): Promise<string> {
    const outputDirectory = path.join(this.directory, 'keys', String(this.#identities++));
    await this.#authority.issue({
      path: commonName,
      kinds: ['tls'],
      outputDirectory,
      ...(hosts && { hosts }),
    });
    return outputDirectory;
  }

  async credentials(commonName: string): Promise<Credentials> {
    const directory = await this.issue(commonName);
    const read = (name: string): string => readFileSync(path.join(directory, name), 'utf8');
    return { key: read('tls.key.pem'), cert: read('tls.chain.pem'), ca: read('tls-root.crt.pem') };
  }

  /** @returns the configuration file of a vendor's broker; with its port it is found again after a restart */
  async brokerConfig(
    name: string,
    settings: Readonly<Record<string, unknown>>,
  ): Promise<(port: number) => string> {
    const identity = await this.issue('vendor-broker', ['127.0.0.1']);
    const folder = path.join(this.directory, name);
    mkdirSync(folder);
    const file = path.join(folder, 'broker.yaml');
    return (port) => {
      const data = path.join(folder, 'data');
      writeFileSync(file, stringify({ name, listen: `127.0.0.1:${port}`, identity, data, ...settings }));
      return file;
    };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
