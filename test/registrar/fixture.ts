/** A vendor with a broker and a registrar in this process, and devices that enrol there. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { enrolByToken } from '../../cli/device/enrol.ts';
import type { RunningBroker } from '../../broker/main.ts';
import { signContent } from '../../cms/signed-content.ts';
import type { ContentSigner } from '../../cms/signed-content.ts';
import { systemClock } from '../../domain/clock.ts';
import type { Clock } from '../../domain/clock.ts';
import { encodeEnrolmentRequest } from '../../domain/enrolment.ts';
import type { EnrolmentRequest } from '../../domain/enrolment.ts';
import { readToken, writeToken } from '../../enrolment/token.ts';
import type { Token } from '../../enrolment/token.ts';
import { loadIdentity } from '../../pki/identity.ts';
import type { Identity } from '../../pki/identity.ts';
import { createRequest } from '../../pki/request.ts';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import type { RegistrarConfig } from '../../registrar/config.ts';
import { startRegistrar } from '../../registrar/main.ts';
import type { RunningRegistrar } from '../../registrar/main.ts';
import { Journal, openSite } from '../broker/fixture.ts';
import type { Site } from '../broker/fixture.ts';

export class Vendor {
  readonly site: Site;
  readonly broker: RunningBroker;
  readonly brokerLog: Journal;
  readonly #clock: Clock;
  readonly #running = new Set<RunningRegistrar>();

  constructor(site: Site, broker: RunningBroker, brokerLog: Journal, clock: Clock) {
    this.site = site;
    this.broker = broker;
    this.brokerLog = brokerLog;
    this.#clock = clock;
  }

  /** The keys of an identity, all three kinds. */
  async keys(name: string, lifetimeMs?: number): Promise<Identity> {
    return loadIdentity(await this.keyDirectory(name, lifetimeMs), { nowMs: 0 + Date.now() });
  }

  async keyDirectory(name: string, lifetimeMs?: number): Promise<string> {
    const directory = path.join(this.site.directory, 'all-keys', ...name.split('/'));
    if (!existsSync(path.join(directory, 'enc.chain.pem'))) {
      await this.site.authority.issue({
        path: name,
        outputDirectory: directory,
        ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
      });
    }
    return directory;
  }

  async config(changes: Partial<RegistrarConfig> = {}): Promise<RegistrarConfig> {
    return {
      broker: { host: '127.0.0.1', port: this.broker.port },
      brokerName: 'vendor-broker',
      authority: this.site.authority.directory,
      identity: await this.keyDirectory('vendor-enrolment-service'),
      crlIdentity: await this.keyDirectory('vendor-crl-service'),
      data: path.join(this.site.directory, 'registrar'),
      certificateDays: 730,
      crlDays: 7,
      expiredGraceDays: 365,
      log: { level: 'debug' },
      ...changes,
    };
  }

  async startRegistrar(
    changes: Partial<RegistrarConfig> = {},
  ): Promise<{ registrar: RunningRegistrar; journal: Journal }> {
    const journal = new Journal();
    const registrar = await startRegistrar(await this.config(changes), {
      log: journal.log,
      clock: this.#clock,
      reconnect: { firstMs: 10, maxMs: 50 },
    });
    this.#running.add(registrar);
    return { registrar, journal };
  }

  async stop(registrar: RunningRegistrar): Promise<void> {
    this.#running.delete(registrar);
    await registrar.stop();
  }

  async token(device: string): Promise<string> {
    const invitation = await this.site.authority.invite({ path: device });
    const broker = { host: '127.0.0.1', port: this.broker.port, name: 'vendor-broker' };
    return writeToken({ path: device, broker, ...invitation, roots: this.site.authority.roots });
  }

  /** @returns what was printed */
  async enrol(token: string, directory: string, timeoutMs = 60_000): Promise<string[]> {
    const printed: string[] = [];
    const { log } = new Journal();
    const print = (line: string): unknown => printed.push(line);
    await enrolByToken({
      token,
      directory,
      passphrase: undefined,
      timeoutMs,
      print,
      log,
      clock: systemClock,
    });
    return printed;
  }

  directory(name: string): string {
    const directory = path.join(this.site.directory, 'devices', name);
    mkdirSync(path.dirname(directory), { recursive: true });
    return directory;
  }

  file(name: string, text: string): string {
    const file = path.join(this.site.directory, name);
    writeFileSync(file, text);
    return file;
  }

  async remove(): Promise<void> {
    await Promise.all([...this.#running].map((registrar) => registrar.stop()));
    await this.site.remove();
  }
}

export async function openVendor(clock: Clock = systemClock): Promise<Vendor> {
  const site = openSite();
  const { broker, journal } = await site.start();
  return new Vendor(site, broker, journal, clock);
}

/** A request as a device makes it, with anything changed. */
export function requestOf(
  signer: ContentSigner,
  device: string,
  changes: Partial<EnrolmentRequest> = {},
): { request: EnrolmentRequest; message: Buffer } {
  const key = (): Buffer =>
    createRequest(device, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  const request: EnrolmentRequest = {
    id: randomUUID(),
    kind: 'renew',
    path: device,
    requests: { tls: key(), sig: key(), enc: key() },
    requestedAtMs: Date.now(),
    agentVersion: 'test',
    ...changes,
  };
  return { request, message: signContent(encodeEnrolmentRequest(request), signer, Date.now()) };
}

export function tokenSigner(text: string): ContentSigner & { readonly token: Token } {
  const token = readToken(text, Date.now());
  const [certificate] = token.sig.chain;
  if (certificate === undefined) throw new Error('a token without certificates');
  return { ...token.sig, certificate, token };
}
