/** Seals what one device sends: snapshots for the readers of a stream, results for whoever asked. */
import type { Sealer } from '../cms/seal.ts';
import { createSealer } from '../cms/seal.ts';
import type { Clock } from '../domain/clock.ts';
import { encodeSenmlCbor } from '../domain/senml.ts';
import type { Snapshot } from '../domain/snapshot.ts';
import type { Certificate } from '../pki/certificate.ts';
import { requireValid } from './key-slots/held-identity.ts';
import type { HeldIdentity } from './key-slots/held-identity.ts';
import type { SharedSnapshot, Sharing } from './sharing.ts';
import type { OutgoingTopic, Part, Place, SealedEnvelope } from './stream.ts';
import { streamTopic } from './stream.ts';

export class DeviceSealer {
  readonly #identity: HeldIdentity;
  readonly #sharing: Sharing;
  /** One for each stream, for each remembers the readers that it sealed for last. */
  readonly #sealers = new Map<string, Sealer>();
  readonly #clock: Clock;

  /** @throws CmsError `cms.unsupported` if the keys of the identity do not fit each other */
  constructor(identity: HeldIdentity, sharing: Sharing, clock: Clock) {
    this.#identity = identity;
    this.#sharing = sharing;
    this.#clock = clock;
    this.#sealerOf(identity.path);
  }

  /**
   * @returns what each group of readers gets; sealed when the outbox has a place for it
   * @throws ReadersError; when it is sealed CmsError `cms.unsupported` if the snapshot is larger than an envelope can be,
   *   SenmlError, KeySlotsError
   */
  partsOf(snapshot: Snapshot): readonly Part[] {
    return this.#sharing.share(snapshot).map((shared) => ({
      stream: shared.stream,
      seal: (place) => this.#sealSnapshot(shared, place),
    }));
  }

  /**
   * @param issuer - reads the result beside those who read the main stream
   * @throws ReadersError, KeySlotsError
   */
  sealResult(content: Uint8Array, issuer: Certificate, place: Place): SealedEnvelope {
    const readers = [...this.#sharing.readersOfResults(), issuer];
    const at = { ...place, signingTimeMs: this.#clock() };
    return this.#seal(this.#identity.path, 'commands/result', content, readers, at);
  }

  /** Whether anything can be sealed now. @throws ReadersError; KeySlotsError `slots.expired` */
  requireReady(): void {
    requireValid(this.#identity, this.#clock());
    this.#sharing.readersOfResults();
  }

  /** @returns why a command of that name is not executed; undefined if it may be */
  refusalOf(command: string): string | undefined {
    return this.#sharing.refusalOf(command);
  }

  #sealSnapshot(
    { stream, snapshot, readers, account }: SharedSnapshot,
    place: Place,
  ): SealedEnvelope | undefined {
    const content = encodeSenmlCbor(this.#identity.path, snapshot);
    const signingTimeMs = this.#clock();
    const sealed = this.#seal(stream, 'snapshots', content, readers, { ...place, signingTimeMs });
    const accounted = account(sealed.envelope.length, signingTimeMs);
    return accounted === undefined ? undefined : { ...sealed, ...accounted };
  }

  #seal(
    stream: string,
    topicName: OutgoingTopic,
    content: Uint8Array,
    recipients: readonly Certificate[],
    { sequence, previousDigest, signingTimeMs }: Place & { readonly signingTimeMs: number },
  ): SealedEnvelope {
    requireValid(this.#identity, signingTimeMs);
    return this.#sealerOf(stream).seal(content, recipients, {
      topic: streamTopic(stream, topicName),
      sequence,
      previousDigest,
      contentType: topicName === 'snapshots' ? 'senml+cbor' : 'command+cbor',
      signingTimeMs,
    });
  }

  #sealerOf(stream: string): Sealer {
    const known = this.#sealers.get(stream);
    if (known !== undefined) return known;
    const { signature, keyAgreement } = this.#identity.e2e;
    const sealer = createSealer({ signature, keyAgreement });
    this.#sealers.set(stream, sealer);
    return sealer;
  }
}
