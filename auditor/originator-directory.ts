/** The devices whose envelopes the auditor can verify: what they published about themselves, once it is verified. */
import type { Originator, Originators } from '../cms/originator.ts';
import { originatorsOf } from '../cms/originator.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import type { Certificate, CurveName } from '../pki/certificate.ts';
import { parseCertificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';

/** Renewals of one device that are remembered, for envelopes that are still on their way. */
const generationsMax = 8;

export class OriginatorDirectory implements Originators {
  readonly #roots: readonly Certificate[];
  /** By key identifier: a device has one for each of its two keys. */
  readonly #byKeyIdentifier = new Map<string, Originator>();
  readonly #byDevice = new Map<string, readonly Originator[]>();

  readonly #lastPayload = new Map<string, Buffer>();

  constructor(roots: readonly Certificate[]) {
    this.#roots = roots;
  }

  /** Whether these are the last that `add` took for the device. */
  knows(device: string, payload: Uint8Array): boolean {
    return this.#lastPayload.get(device)?.equals(payload) === true;
  }

  get size(): number {
    return this.#byDevice.size;
  }

  /**
   * Takes what a device published at its `certificates` topic.
   *
   * @throws PkiError if a chain is not to be trusted or names another device; DeviceCertificatesError
   */
  add(device: string, payload: Uint8Array, atMs: number): void {
    const { signature, keyAgreement } = decodeDeviceCertificates(payload);
    const originator = {
      commonName: device,
      signature: this.#verified(device, signature, 'signature', atMs),
      keyAgreement: this.#verified(device, keyAgreement, 'key-agreement', atMs),
    };
    const known = this.#byDevice.get(device) ?? [];
    const others = known.filter((one) => !one.keyAgreement.der.equals(originator.keyAgreement.der));
    for (const certificate of [originator.signature, originator.keyAgreement]) {
      const identifier = certificate.subjectKeyIdentifier?.toString('hex');
      if (identifier !== undefined) this.#byKeyIdentifier.set(identifier, originator);
    }
    this.#lastPayload.set(device, Buffer.from(payload));
    this.#byDevice.set(device, [originator, ...others].slice(0, generationsMax));
  }

  byKeyIdentifier(keyIdentifier: Buffer): Originator | undefined {
    return this.#byKeyIdentifier.get(keyIdentifier.toString('hex'));
  }

  /** Our devices name themselves by key identifier; other senders are rare enough to be searched for. */
  byIssuerAndSerial(issuerDer: Buffer, serialNumber: Buffer): Originator | undefined {
    return this.#all().byIssuerAndSerial(issuerDer, serialNumber);
  }

  byPublicPoint(curve: CurveName, point: Buffer): Originator | undefined {
    return this.#all().byPublicPoint(curve, point);
  }

  #all(): Originators {
    return originatorsOf([...this.#byDevice.values()].flat());
  }

  #verified(
    device: string,
    chain: readonly Uint8Array[],
    purpose: 'signature' | 'key-agreement',
    atMs: number,
  ): Certificate {
    const identity = verifyPath({ chain: chain.map(parseCertificate), roots: this.#roots, atMs, purpose });
    if (identity.commonName !== device) {
      throw new PkiError('pki.path_discipline', `the certificates of ${device} name ${identity.commonName}`);
    }
    return identity.certificate;
  }
}
