/** A customer's site for tests: an authority, its identities on disk, and a real broker in this process. */
import assert from 'node:assert/strict';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { startBroker } from '../../broker/main.ts';
import { brokerConfigType } from '../../broker/config.ts';
import type { OpenedEnvelope, Opener } from '../../cms/open.ts';
import { createOpener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { agentConfigType } from '../../device-agent/config.ts';
import type { AgentConfig } from '../../device-agent/config.ts';
import type { RunningAgent } from '../../device-agent/main.ts';
import { startAgent } from '../../device-agent/main.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import type { ReceivedMessage } from '../../mqtt/inbox.ts';
import type { Link } from '../../mqtt/link.ts';
import { openLink } from '../../mqtt/link.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { E2eIdentity } from '../../pki/identity.ts';
import { loadE2eIdentity, loadTlsIdentity } from '../../pki/identity.ts';
import { freePort } from '../../runtime/free-ports.ts';
import { createLog } from '../../runtime/log.ts';
import type { Log } from '../../runtime/log.ts';
import { temporaryFolder } from './collector/files.ts';
import { z } from 'zod';

export const masterAccount = 'ms-acc-1';
const reconnect = { firstMs: 5, maxMs: 50 };

/** Messages in the order in which they came, for a test that takes them one by one. */
export class Received {
  readonly #messages: ReceivedMessage[] = [];
  #waiting: (() => void) | undefined;

  add(message: ReceivedMessage): void {
    this.#messages.push(message);
    this.#waiting?.();
  }

  /** The next one on a topic with that end; others stay. */
  async next(topicEnd: string): Promise<ReceivedMessage> {
    for (;;) {
      const index = this.#messages.findIndex((message) => message.topic.endsWith(topicEnd));
      const [found] = index === -1 ? [] : this.#messages.splice(index, 1);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => (this.#waiting = resolve));
    }
  }
}

export class Site {
  readonly folder: string;
  readonly authority: Authority;
  /** What ends with the test, last first: an agent says goodbye to a broker that is still there. */
  readonly #endings: (() => Promise<void>)[] = [];
  #agents: RunningAgent[] = [];
  #brokerPort = 0;
  #stopBroker: (() => Promise<void>) | undefined;

  constructor(context: TestContext) {
    context.after(() => this.#end());
    this.folder = temporaryFolder(context);
    this.authority = createAuthority({ directory: path.join(this.folder, 'authority') });
  }

  get brokerPort(): number {
    return this.#brokerPort;
  }

  async issue(name: string, hosts: readonly string[] = []): Promise<string> {
    const outputDirectory = path.join(this.folder, hosts.length > 0 ? 'broker' : name);
    await this.authority.issue({ path: name, hosts, outputDirectory });
    return outputDirectory;
  }

  /** Starts the broker, again on its old port and data if it was stopped. */
  async startBroker(): Promise<void> {
    const identity = path.join(this.folder, 'broker');
    if (this.#brokerPort === 0) {
      await this.issue(masterAccount, ['127.0.0.1']);
      this.#brokerPort = await freePort();
    }
    const broker = await startBroker(
      brokerConfigType(pathTypes).parse({
        name: masterAccount,
        listen: `127.0.0.1:${this.#brokerPort}`,
        identity,
        data: path.join(this.folder, 'broker-data'),
        durability: 'os',
      }),
      { log: createLog('broker', 'silent') },
    );
    let stopped: Promise<void> | undefined;
    this.#stopBroker = () => (stopped ??= broker.stop());
    this.#endings.push(this.#stopBroker);
  }

  /** Its TLS certificate alone; its account has others. */
  async revokeBroker(): Promise<void> {
    const { certificate } = loadTlsIdentity(path.join(this.folder, 'broker'));
    await this.authority.revoke({ target: { serials: [certificate.serialNumber.toString('hex')] } });
  }

  async stopBroker(): Promise<void> {
    await this.#stopBroker?.();
  }

  identity(name: string): E2eIdentity {
    return loadE2eIdentity(path.join(this.folder, name));
  }

  /** A configuration with the defaults of a file. */
  agentConfig(settings: object): AgentConfig {
    return agentConfigType(pathTypes).parse({
      broker: `127.0.0.1:${this.#brokerPort}`,
      brokerName: masterAccount,
      data: path.join(this.folder, 'agent-data'),
      recipients: [path.join(this.folder, masterAccount, 'enc.chain.pem')],
      ...settings,
    });
  }

  async startAgent(
    settings: object,
    log: Log = createLog('agent', 'silent'),
    extra: object = {},
  ): Promise<RunningAgent> {
    const agent = this.ending(await startAgent(this.agentConfig(settings), { log, reconnect, ...extra }));
    this.#agents.push(agent);
    return agent;
  }

  /** The same program, stopped at the end of the test if the test has not done it. */
  ending<P extends { stop(): Promise<void> }>(program: P): P {
    let stopped: Promise<void> | undefined;
    const stop = program.stop.bind(program);
    const stopOnce = (): Promise<void> => (stopped ??= stop());
    program.stop = stopOnce;
    this.#endings.push(stopOnce);
    return program;
  }

  async stopAgents(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    this.#agents = [];
  }

  /** A client that receives; everything is acknowledged. */
  async reader(
    name: string,
    clientId: string,
    filters: readonly string[],
  ): Promise<{ link: Link; received: Received }> {
    const received = new Received();
    const { promise: subscribed, resolve } = Promise.withResolvers<void>();
    const link = openLink({
      broker: { host: '127.0.0.1', port: this.#brokerPort },
      brokerName: masterAccount,
      identity: loadTlsIdentity(path.join(this.folder, name)),
      clientId,
      cleanSession: false,
      subscriptions: filters.map((filter) => ({ filter, qos: 1 })),
      onMessage: (message, acknowledge) => {
        received.add(message);
        acknowledge();
      },
      onSubscribed: (granted) => {
        assert.ok(
          granted.every((one) => one.granted === 1),
          JSON.stringify(granted),
        );
        resolve();
      },
      log: createLog('reader', 'silent'),
      reconnect,
    });
    this.#endings.push(() => link.close());
    if (filters.length > 0) await subscribed;
    return { link, received };
  }

  async #end(): Promise<void> {
    for (const end of this.#endings.toReversed()) await end();
  }

  /** Opens what a device sealed for `reader`. */
  opener(reader: string, devices: readonly string[]): Opener {
    const originators = devices.map((name) => {
      const { commonName, signature, keyAgreement } = this.identity(name);
      return { commonName, signature: signature.certificate, keyAgreement: keyAgreement.certificate };
    });
    return createOpener({
      recipient: this.identity(reader).keyAgreement,
      originators: originatorsOf(originators),
    });
  }
}

export function openMessage(opener: Opener, { payload, topic }: ReceivedMessage): OpenedEnvelope {
  return opener.open(payload, { expectedTopic: topic });
}

export function devicePath(text: string): NamespacePath {
  return parseDevicePath(text) ?? assert.fail(`${text} is not a device`);
}

const pathTypes = { path: z.string(), existingPath: z.string() };
