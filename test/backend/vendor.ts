/** The vendor's side for tests: an authority, a real broker, real keys, and devices that seal whatever a test wants. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { backendConfigType } from '../../backend/config.ts';
import type { BackendConfig } from '../../backend/config.ts';
import { startBackend } from '../../backend/main.ts';
import type { RunningBackend } from '../../backend/main.ts';
import { brokerConfigType } from '../../broker/config.ts';
import { startBroker } from '../../broker/main.ts';
import { createSealer } from '../../cms/seal.ts';
import type { SealContext } from '../../cms/seal.ts';
import { encodeDeviceCertificates } from '../../domain/device-certificates.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import type { Reading } from '../../domain/snapshot.ts';
import { deviceTopic } from '../../domain/topic.ts';
import { openLink } from '../../mqtt/link.ts';
import type { LinkSubscription } from '../../mqtt/client-packets.ts';
import type { Link } from '../../mqtt/link.ts';
import type { MessageHandler } from '../../mqtt/inbox.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { loadE2eIdentity, loadTlsIdentity } from '../../pki/identity.ts';
import type { E2eIdentity } from '../../pki/identity.ts';
import type { ConfigTypes } from '../../runtime/config.ts';
import { freePort } from '../../runtime/free-ports.ts';
import { createLog } from '../../runtime/log.ts';
import type { Log } from '../../runtime/log.ts';
import { z } from 'zod';

export const snapshotService = 'vendor-snapshot-service';
export const commandService = 'vendor-command-service';
const brokerName = 'vendor-broker';
const pathTypes: ConfigTypes = { path: z.string(), existingPath: z.string() };
const reconnect = { firstMs: 5, maxMs: 50 };
const lookMs = 50;

export class Vendor {
  readonly folder: string;
  readonly authority: Authority;
  readonly #endings: (() => Promise<void>)[] = [];
  #brokerPort = 0;

  constructor(context: TestContext) {
    this.folder = mkdtempSync(path.join(tmpdir(), 'plombe-vendor-'));
    context.after(async () => {
      for (const end of this.#endings.toReversed()) await end();
      rmSync(this.folder, { recursive: true, force: true });
    });
    this.authority = createAuthority({ directory: path.join(this.folder, 'authority') });
  }

  /** Before the folder is removed; what was begun last ends first. */
  atEnd(end: () => Promise<void>): void {
    this.#endings.push(end);
  }

  async issue(name: string, hosts: readonly string[] = []): Promise<string> {
    const outputDirectory = path.join(this.folder, 'identities', name);
    await this.authority.issue({ path: name, hosts, outputDirectory });
    return outputDirectory;
  }

  identity(name: string): E2eIdentity {
    return loadE2eIdentity(path.join(this.folder, 'identities', name));
  }

  async startBroker(): Promise<void> {
    if (this.#brokerPort === 0) this.#brokerPort = await freePort();
    const broker = await startBroker(
      brokerConfigType(pathTypes).parse({
        name: brokerName,
        listen: `127.0.0.1:${this.#brokerPort}`,
        identity: await this.issue(brokerName, ['127.0.0.1']),
        data: path.join(this.folder, 'broker-data'),
        durability: 'os',
      }),
      { log: createLog('broker', 'silent') },
    );
    this.atEnd(() => broker.stop());
  }

  backendConfig(settings: object = {}): BackendConfig {
    return backendConfigType(pathTypes).parse({
      broker: `127.0.0.1:${this.#brokerPort}`,
      brokerName,
      identity: path.join(this.folder, 'identities', snapshotService),
      commandIdentity: path.join(this.folder, 'identities', commandService),
      database: `sqlite:${path.join(this.folder, 'plombe.db')}`,
      data: path.join(this.folder, 'backend-data'),
      http: { listen: '127.0.0.1:0' },
      ...settings,
    });
  }

  async startBackend(log: Log, settings: object = {}): Promise<RunningBackend> {
    const backend = await startBackend(this.backendConfig(settings), { log, reconnect, lookMs });
    let stopped: Promise<void> | undefined;
    const stop = (): Promise<void> => (stopped ??= backend.stop());
    this.atEnd(stop);
    return { port: backend.port, observePort: backend.observePort, state: () => backend.state(), stop };
  }

  link(name: string, subscriptions: readonly LinkSubscription[] = [], onMessage?: MessageHandler): Link {
    const link = openLink({
      broker: { host: '127.0.0.1', port: this.#brokerPort },
      brokerName,
      identity: loadTlsIdentity(path.join(this.folder, 'identities', name)),
      clientId: 'device',
      cleanSession: false,
      subscriptions,
      ...(onMessage === undefined ? {} : { onMessage }),
      log: createLog('device', 'silent'),
      reconnect,
    });
    this.atEnd(() => link.close());
    return link;
  }

  async device(name: string): Promise<Device> {
    await this.issue(name);
    return new Device(devicePath(name), this.identity(name), [
      this.identity(snapshotService).keyAgreement.certificate,
    ]);
  }
}

export function devicePath(text: string): NamespacePath {
  const parsed = parseDevicePath(text);
  if (parsed === undefined) throw new Error(`${text} is no device`);
  return parsed;
}

export interface Sealed {
  readonly topic: string;
  readonly envelope: Buffer;
}

/** Seals as an agent does, and as none should. */
export class Device {
  readonly path: NamespacePath;
  readonly identity: E2eIdentity;
  readonly #recipients: readonly Certificate[];
  #previousDigest: Uint8Array | undefined;

  constructor(path: NamespacePath, identity: E2eIdentity, recipients: readonly Certificate[]) {
    this.path = path;
    this.identity = identity;
    this.#recipients = recipients;
  }

  get certificates(): Uint8Array {
    const { signature, keyAgreement } = this.identity;
    return encodeDeviceCertificates({
      signature: signature.chain.map(({ der }) => der),
      keyAgreement: keyAgreement.chain.map(({ der }) => der),
    });
  }

  snapshot(
    sequence: number,
    readings: readonly Reading[] = [{ channel: 'fuel.flow', unit: 'l/h', value: sequence }],
    changes: Partial<SealContext> = {},
  ): Sealed {
    const content = encodeSenmlCbor(this.path, { timeMs: Date.now(), deviceType: 'FM', readings });
    return this.seal(content, { sequence, ...changes });
  }

  /** Like an agent's envelopes, each refers to the one before. */
  seal(content: Uint8Array, changes: Partial<SealContext> & Pick<SealContext, 'sequence'>): Sealed {
    const context: SealContext = {
      topic: deviceTopic(this.path, 'snapshots'),
      previousDigest: this.#previousDigest,
      contentType: 'senml+cbor',
      signingTimeMs: Date.now(),
      ...changes,
    };
    const { envelope, digest } = createSealer(this.identity).seal(content, this.#recipients, context);
    this.#previousDigest = digest;
    return { topic: context.topic, envelope };
  }
}
