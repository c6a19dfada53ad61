/** A device in the field for tests: a vendor with a registrar, keys of any age, an agent, and whoever reads what it seals. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { OriginatorDirectory } from '../../../cms/originator-directory.ts';
import { createOpener } from '../../../cms/open.ts';
import type { OpenedEnvelope, Opener } from '../../../cms/open.ts';
import { agentConfigType } from '../../../device-agent/config.ts';
import type { AgentConfig } from '../../../device-agent/config.ts';
import { startAgent } from '../../../device-agent/main.ts';
import type { AgentDependencies, RunningAgent } from '../../../device-agent/main.ts';
import { keyTimes } from '../../../device-agent/key-slots/bearer.ts';
import { decodeDeviceCertificates } from '../../../domain/device-certificates.ts';
import { parseDeviceTopic } from '../../../domain/topic.ts';
import { certificatesToPem } from '../../../pki/certificate.ts';
import { privateKeyToPem } from '../../../pki/private-key.ts';
import { createMetrics } from '../../../runtime/observe.ts';
import type { Metrics } from '../../../runtime/observe.ts';
import { writeFileAtomically } from '../../../runtime/files.ts';
import { z } from 'zod';
import { Journal } from '../../broker/fixture.ts';
import type { Vendor } from '../../registrar/fixture.ts';
import { clientAuth, rogueCertificate, stolenAuthority } from '../../pki/rogue-authority.ts';

export const dayMs = 86_400_000;
export const readerName = 'vendor-snapshot-service';
/** More than two thirds of it are over. */
export const aged = { fromDays: -500, toDays: 100 };
export const expired = { fromDays: -500, toDays: -1 };

const keyKinds = ['tls', 'sig', 'enc'] as const;

/** @returns an identity directory as `plombe pki issue` wrote it some time ago */
export async function identityOfAge(
  vendor: Vendor,
  device: string,
  { fromDays, toDays }: { readonly fromDays: number; readonly toDays: number },
): Promise<string> {
  const [masterAccount = '', account = ''] = device.split('/');
  await vendor.keyDirectory(device); // makes the CAs
  const directory = vendor.directory(device);
  for (const kind of keyKinds) {
    const pki = kind === 'tls' ? 'tls' : 'e2e';
    const issuer = stolenAuthority(vendor.site.authority, pki, `${masterAccount}/${account}`);
    const above = stolenAuthority(vendor.site.authority, pki, masterAccount);
    const { certificate, key } = rogueCertificate({
      issuer,
      commonName: device,
      notBeforeMs: Date.now() + fromDays * dayMs,
      notAfterMs: Date.now() + toDays * dayMs,
      ...(kind === 'enc' ? { keyUsage: ['keyAgreement'] } : {}),
      ...(kind === 'tls' ? { extendedKeyUsage: [clientAuth] } : {}),
    });
    const chain = [certificate, issuer.certificate, above.certificate];
    const { tls, e2e } = vendor.site.authority.roots;
    writeFileAtomically(path.join(directory, `${kind}.key.pem`), privateKeyToPem(key), 0o600);
    writeFileAtomically(path.join(directory, `${kind}.crt.pem`), certificatesToPem([certificate]));
    writeFileAtomically(path.join(directory, `${kind}.chain.pem`), certificatesToPem(chain));
    writeFileAtomically(
      path.join(directory, `${pki}-root.crt.pem`),
      certificatesToPem([pki === 'tls' ? tls : e2e]),
    );
  }
  return directory;
}

/** What the configuration file of an agent with one device says. */
export async function agentSettings(vendor: Vendor, identity: string): Promise<Record<string, unknown>> {
  return {
    broker: `127.0.0.1:${vendor.broker.port}`,
    brokerName: 'vendor-broker',
    data: `${identity}.data`,
    recipients: [path.join(await vendor.keyDirectory(readerName), 'enc.chain.pem')],
    devices: [{ identity, collector: { kind: 'simulator', type: 'PC', intervalMs: 50 } }],
  };
}

export interface FieldAgent {
  readonly agent: RunningAgent;
  readonly journal: Journal;
  readonly metrics: Metrics;
}

export async function startFieldAgent(
  settings: Record<string, unknown>,
  dependencies: Partial<AgentDependencies> = {},
): Promise<FieldAgent> {
  const types = { path: z.string(), existingPath: z.string() };
  const config: AgentConfig = agentConfigType(types).parse(settings);
  const journal = new Journal();
  const metrics = createMetrics();
  const agent = await startAgent(config, {
    log: journal.log,
    metrics,
    reconnect: { firstMs: 5, maxMs: 50 },
    times: { ...keyTimes, retry: { firstMs: 1, maxMs: 1 } },
    random: () => 0,
    ...dependencies,
  });
  return { agent, journal, metrics };
}

/** @returns the value of a counter or gauge with that label, 0 if there is none */
export async function valueOf(metrics: Metrics, name: string, label: string): Promise<number> {
  const found = await metrics.registry.getSingleMetric(name)?.get();
  return found?.values.find(({ labels }) => Object.values(labels).includes(label))?.value ?? 0;
}

/** @returns what `current` says, in one line; empty if it is not there */
export function currentOf(root: string): string {
  const file = path.join(root, 'current');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().replace('\n', ', ') : '';
}

export interface ReadEnvelope extends OpenedEnvelope {
  readonly device: string;
}

/** Reads as a backend that began just now would: it knows the certificates that came before an envelope, and no others. */
export class FieldReader {
  readonly envelopes: ReadEnvelope[] = [];
  /** What could not be opened. */
  readonly faults: string[] = [];
  readonly #directory: OriginatorDirectory;
  readonly #opener: Opener;
  readonly #waiting = new Set<() => void>();

  constructor(directory: OriginatorDirectory, opener: Opener) {
    this.#directory = directory;
    this.#opener = opener;
  }

  take(topic: string, payload: Buffer): void {
    const place = parseDeviceTopic(topic);
    if (place?.name === 'certificates') {
      this.#directory.publish(place.device, decodeDeviceCertificates(payload), Date.now());
    } else if (place?.name === 'snapshots') {
      try {
        const opened = this.#opener.open(payload, { expectedTopic: topic });
        this.envelopes.push({ ...opened, device: place.device });
      } catch (error) {
        this.faults.push(String(error));
      }
    }
    for (const wake of this.#waiting) wake();
  }

  of(device: string): ReadEnvelope[] {
    return this.envelopes.filter((envelope) => envelope.device === device);
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          resolve();
        };
        this.#waiting.add(wake);
      });
    }
  }

  /** Every number once from 1 on, each after the one before it; and all of it could be opened. */
  requireWhole(device: string): void {
    assert.deepEqual(this.faults, []);
    const bySequence = new Map(this.of(device).map((envelope) => [envelope.sequence ?? 0, envelope]));
    assert.ok(bySequence.size > 0);
    for (let sequence = 1; sequence <= bySequence.size; sequence++) {
      const envelope = bySequence.get(sequence);
      assert.ok(envelope, `${device}: number ${sequence} of ${bySequence.size} is missing`);
      assert.deepEqual(envelope.previousDigest, bySequence.get(sequence - 1)?.digest, `number ${sequence}`);
    }
    const digests = new Set(this.of(device).map(({ digest }) => digest.toString('hex')));
    assert.equal(digests.size, bySequence.size, 'a number has two envelopes');
  }
}

export async function openReader(vendor: Vendor): Promise<FieldReader> {
  const { e2e } = await vendor.keys(readerName);
  const originators = new OriginatorDirectory(e2e.roots);
  const reader = new FieldReader(originators, createOpener({ recipient: e2e.keyAgreement, originators }));
  const client = await vendor.site.connect(vendor.broker, 'MRO-Admin', {
    clientId: `reader-${Math.random()}`,
  });
  client.on('message', (topic, payload) => reader.take(topic, payload));
  await client.subscribeAsync(['+/+/+/certificates', '+/+/+/snapshots'], { qos: 1 });
  return reader;
}
