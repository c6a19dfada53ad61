/** Seals what one device sends: snapshots for its readers, results for whoever asked. */
import type { Sealer } from '../cms/seal.ts';
import { createSealer } from '../cms/seal.ts';
import type { Clock } from '../domain/clock.ts';
import { encodeSenmlCbor } from '../domain/senml.ts';
import type { Snapshot } from '../domain/snapshot.ts';
import { deviceTopic } from '../domain/topic.ts';
import type { Certificate } from '../pki/certificate.ts';
import { requireValid } from './key-slots/held-identity.ts';
import type { HeldIdentity } from './key-slots/held-identity.ts';
import type { Place, SealedEnvelope } from './outbox.ts';
import type { Readers } from './readers.ts';

export class DeviceSealer {
  readonly #identity: HeldIdentity;
  readonly #readers: Readers;
  readonly #sealer: Sealer;
  readonly #clock: Clock;

  /** @param readers - of everything that the device sends */
  constructor(identity: HeldIdentity, readers: Readers, clock: Clock) {
    const { signature, keyAgreement } = identity.e2e;
    this.#identity = identity;
    this.#readers = readers;
    this.#sealer = createSealer({ signature, keyAgreement });
    this.#clock = clock;
  }

  /** @throws CmsError `cms.unsupported` if the snapshot is larger than an envelope can be; ReadersError; KeySlotsError */
  sealSnapshot(snapshot: Snapshot, place: Place): SealedEnvelope {
    const content = encodeSenmlCbor(this.#identity.path, snapshot);
    return this.#seal('snapshots', 'senml+cbor', content, this.#readers.current(), place);
  }

  /**
   * @param issuer - reads the result beside those who read everything
   * @throws ReadersError, KeySlotsError
   */
  sealResult(content: Uint8Array, issuer: Certificate, place: Place): SealedEnvelope {
    return this.#seal(
      'commands/result',
      'command+cbor',
      content,
      [...this.#readers.current(), issuer],
      place,
    );
  }

  /** Whether anything can be sealed now. @throws ReadersError; KeySlotsError `slots.expired` */
  requireReady(): void {
    requireValid(this.#identity, this.#clock());
    this.#readers.current();
  }

  #seal(
    topicName: 'snapshots' | 'commands/result',
    contentType: 'senml+cbor' | 'command+cbor',
    content: Uint8Array,
    recipients: readonly Certificate[],
    { sequence, previousDigest }: Place,
  ): SealedEnvelope {
    const signingTimeMs = this.#clock();
    requireValid(this.#identity, signingTimeMs);
    return this.#sealer.seal(content, recipients, {
      topic: deviceTopic(this.#identity.path, topicName),
      sequence,
      previousDigest,
      contentType,
      signingTimeMs,
    });
  }
}
