/** Seals what one device sends: snapshots for its readers, results for whoever asked. */
import type { Sealer } from '../cms/seal.ts';
import { createSealer } from '../cms/seal.ts';
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { encodeSenmlCbor } from '../domain/senml.ts';
import type { Snapshot } from '../domain/snapshot.ts';
import { deviceTopic } from '../domain/topic.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { E2eIdentity } from '../pki/identity.ts';
import type { Place, SealedEnvelope } from './outbox.ts';
import type { Readers } from './readers.ts';

export class DeviceSealer {
  readonly #device: NamespacePath;
  readonly #readers: Readers;
  readonly #sealer: Sealer;
  readonly #clock: Clock;

  /** @param readers - of everything that the device sends */
  constructor(device: NamespacePath, identity: E2eIdentity, readers: Readers, clock: Clock) {
    this.#device = device;
    this.#readers = readers;
    this.#sealer = createSealer({ signature: identity.signature, keyAgreement: identity.keyAgreement });
    this.#clock = clock;
  }

  /** @throws CmsError `cms.unsupported` if the snapshot is larger than an envelope can be; ReadersError */
  sealSnapshot(snapshot: Snapshot, place: Place): SealedEnvelope {
    const content = encodeSenmlCbor(this.#device, snapshot);
    return this.#seal('snapshots', 'senml+cbor', content, this.#readers.current(), place);
  }

  /**
   * @param issuer - reads the result beside those who read everything
   * @throws ReadersError
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

  /** Whether anything can be sealed now. @throws ReadersError */
  requireReaders(): void {
    this.#readers.current();
  }

  #seal(
    topicName: 'snapshots' | 'commands/result',
    contentType: 'senml+cbor' | 'command+cbor',
    content: Uint8Array,
    recipients: readonly Certificate[],
    { sequence, previousDigest }: Place,
  ): SealedEnvelope {
    return this.#sealer.seal(content, recipients, {
      topic: deviceTopic(this.#device, topicName),
      sequence,
      previousDigest,
      contentType,
      signingTimeMs: this.#clock(),
    });
  }
}
