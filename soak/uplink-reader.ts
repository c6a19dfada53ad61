/** Somebody above the uplink who sees every message that crosses it, and requires the owner's signature on every envelope. */
import { readEnvelope } from '../cms/envelope.ts';
import type { Envelope } from '../cms/envelope.ts';
import { CmsError } from '../cms/errors.ts';
import { identifies } from '../cms/identifier.ts';
import { inspect } from '../cms/inspect.ts';
import { isSignedBy } from '../cms/signer-info.ts';
import { streamOf } from '../ledger/stream.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import type { Link } from '../mqtt/link.ts';
import { openLink } from '../mqtt/link.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import type { Endpoint } from '../runtime/config.ts';
import { createLog } from '../runtime/log.ts';

export interface UplinkReaderOptions {
  readonly broker: Endpoint;
  readonly brokerName: string;
  /** May read everything. */
  readonly identity: TlsIdentity;
  /** Whose uplink it is. */
  readonly owner: string;
  /** Of its auditor, for signatures. */
  readonly releaser: Certificate;
}

export interface Crossing {
  readonly stream: string;
  readonly sequence: number;
  /** Hexadecimal. */
  readonly digest: string;
}

/** What is sealed and goes up. */
const sealedTopic = /^[^/]+\/[^/]+\/[^/]+\/(snapshots|shared\/[^/]+\/snapshots|commands\/result)$/;
const violationsMax = 50;

export class UplinkReader {
  readonly violations: string[] = [];
  /** In the order in which they came for the first time. */
  readonly crossings: Crossing[] = [];
  readonly #seen = new Set<string>();
  readonly #releaser: Certificate;
  readonly #link: Link;
  /** When the broker has granted the subscription, so that nothing is missed. */
  readonly ready: Promise<void>;
  repeated = 0;

  constructor({ broker, brokerName, identity, owner, releaser }: UplinkReaderOptions) {
    this.#releaser = releaser;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ready = promise;
    this.#link = openLink({
      broker,
      brokerName,
      identity,
      clientId: 'uplink-reader',
      cleanSession: false,
      subscriptions: [{ filter: `${owner}/#`, qos: 1 }],
      onSubscribed: () => resolve(),
      onMessage: (message, acknowledge) => {
        this.#take(message);
        acknowledge();
      },
      log: createLog('uplink-reader', 'silent'),
    });
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  #take({ topic, payload }: ReceivedMessage): void {
    const envelope = envelopeIn(payload);
    if (!sealedTopic.test(topic)) {
      if (envelope !== undefined) this.#violate(`an envelope crossed by ${topic}`);
      return;
    }
    if (envelope === undefined) return this.#violate(`something that is no envelope crossed by ${topic}`);
    const { digest, info } = inspect(payload);
    const crossing = {
      stream: streamOf({ topic, direction: 'out' }),
      sequence: info?.sequence ?? 0,
      digest: digest.toString('hex'),
    };
    if (!this.#isReleased(envelope)) {
      this.#violate(`${crossing.stream} #${crossing.sequence} crossed without its owner's signature`);
    }
    const key = `${crossing.stream} ${crossing.digest}`;
    if (this.#seen.has(key)) {
      this.repeated += 1;
      return;
    }
    this.#seen.add(key);
    this.crossings.push(crossing);
  }

  #isReleased({ signedData }: Envelope): boolean {
    const signer = signedData?.signers.find(({ identifier }) => identifies(identifier, this.#releaser));
    return signedData !== undefined && signer !== undefined
      ? isSignedBy(signedData.content, signer, this.#releaser)
      : false;
  }

  #violate(what: string): void {
    if (this.violations.length < violationsMax) this.violations.push(what);
  }
}

function envelopeIn(payload: Buffer): Envelope | undefined {
  try {
    return readEnvelope(payload);
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    return undefined;
  }
}
