/** An authority, the backend's keys and those of a fleet, for benches and soaks that run the backend's threads. */
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createSealer } from '../cms/seal.ts';
import type { Sealer } from '../cms/seal.ts';
import { encodeDeviceCertificates } from '../domain/device-certificates.ts';
import { parseDevicePath } from '../domain/namespace.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { encodeSenmlCbor } from '../domain/senml.ts';
import type { Snapshot } from '../domain/snapshot.ts';
import { deviceTopic } from '../domain/topic.ts';
import { createAuthority } from '../pki/authority/authority.ts';
import type { Certificate } from '../pki/certificate.ts';
import { loadE2eIdentity } from '../pki/identity.ts';
import type { E2eIdentity } from '../pki/identity.ts';

export const reader = 'vendor-snapshot-service';

/** Issues E2E keys for the backend and the devices. @returns nothing; `identityOf` finds them */
export async function issueFleet(directory: string, devices: readonly string[]): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const authority = createAuthority({ directory: path.join(directory, 'pki') });
  for (const name of [reader, ...devices]) {
    await authority.issue({ path: name, kinds: ['sig', 'enc'], outputDirectory: folderOf(directory, name) });
  }
}

/** @returns the revocation lists of the fleet's authority, as they are published */
export function listsOf(directory: string): Buffer {
  return readFileSync(path.join(directory, 'pki', 'e2e', 'crl.pem'));
}

export function identityOf(directory: string, name: string): E2eIdentity {
  return loadE2eIdentity(folderOf(directory, name));
}

function folderOf(directory: string, name: string): string {
  return path.join(directory, 'keys', name.replaceAll('/', '+'));
}

/** Seals as an agent does: numbered from 1, each envelope with the digest of the one before. */
export class FleetDevice {
  readonly path: NamespacePath;
  readonly topic: string;
  readonly identity: E2eIdentity;
  readonly #sealer: Sealer;
  readonly #recipients: readonly Certificate[];
  #sequence = 0;
  #previousDigest: Uint8Array | undefined;

  constructor(directory: string, name: string) {
    const parsed = parseDevicePath(name);
    if (parsed === undefined) throw new Error(`${name} is no device`);
    this.path = parsed;
    this.topic = deviceTopic(parsed, 'snapshots');
    this.identity = identityOf(directory, name);
    this.#sealer = createSealer(this.identity);
    this.#recipients = [identityOf(directory, reader).keyAgreement.certificate];
  }

  get certificates(): Uint8Array {
    const { signature, keyAgreement } = this.identity;
    return encodeDeviceCertificates({
      signature: signature.chain.map(({ der }) => der),
      keyAgreement: keyAgreement.chain.map(({ der }) => der),
    });
  }

  seal(snapshot: Snapshot): Buffer {
    const { envelope, digest } = this.#sealer.seal(encodeSenmlCbor(this.path, snapshot), this.#recipients, {
      topic: deviceTopic(this.path, 'snapshots'),
      sequence: ++this.#sequence,
      previousDigest: this.#previousDigest,
      contentType: 'senml+cbor',
      signingTimeMs: Date.now(),
    });
    this.#previousDigest = digest;
    return envelope;
  }
}
