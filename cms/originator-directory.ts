/** Whose envelopes a reader believes: what devices published about themselves, once it is verified. */
import { parseDevicePath } from '../domain/namespace.ts';
import type { DeviceCertificates } from '../domain/device-certificates.ts';
import type { Certificate, CurveName } from '../pki/certificate.ts';
import { parseCertificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import type { Originator, Originators } from './originator.ts';

/** The two certificates of a device, each with the path by which it was verified. */
export interface VerifiedPair {
  readonly signature: VerifiedIdentity;
  readonly keyAgreement: VerifiedIdentity;
}

/** Former certificates of one device that are still looked up: envelopes on their way were made with them. */
const generationsMax = 16;

export class OriginatorDirectory implements Originators {
  readonly #roots: readonly Certificate[];
  /** The newest last. */
  readonly #byDevice = new Map<string, readonly Originator[]>();
  readonly #byKeyIdentifier = new Map<string, Originator>();
  readonly #byIssuerAndSerial = new Map<string, Originator>();
  readonly #byPublicPoint = new Map<string, Originator>();
  #generation = 0;

  constructor(roots: readonly Certificate[]) {
    this.#roots = roots;
  }

  /** How many devices it knows. */
  get size(): number {
    return this.#byDevice.size;
  }

  /** Counts up with every certificate that is learnt. */
  get generation(): number {
    return this.#generation;
  }

  has(device: string): boolean {
    return this.#byDevice.has(device);
  }

  /** The certificates that the device published last. */
  newestOf(device: string): Originator | undefined {
    return this.#byDevice.get(device)?.at(-1);
  }

  byKeyIdentifier(keyIdentifier: Buffer): Originator | undefined {
    return this.#byKeyIdentifier.get(keyIdentifier.toString('hex'));
  }

  byIssuerAndSerial(issuerDer: Buffer, serialNumber: Buffer): Originator | undefined {
    return this.#byIssuerAndSerial.get(`${issuerDer.toString('hex')}/${serialNumber.toString('hex')}`);
  }

  byPublicPoint(curve: CurveName, point: Buffer): Originator | undefined {
    return this.#byPublicPoint.get(`${curve}/${point.toString('hex')}`);
  }

  /**
   * Takes what a device published.
   *
   * @returns whether it is news
   * @throws PkiError if a chain is not to be trusted or names another device
   */
  publish(device: string, { signature, keyAgreement }: DeviceCertificates, nowMs: number): boolean {
    const newest = this.newestOf(device);
    // On every connect all retained certificates come again.
    if (isLeaf(signature, newest?.signature) && isLeaf(keyAgreement, newest?.keyAgreement)) return false;
    this.add(device, {
      signature: this.verify(device, signature, 'signature', nowMs),
      keyAgreement: this.verify(device, keyAgreement, 'key-agreement', nowMs),
    });
    return true;
  }

  /** @throws PkiError */
  verify(
    device: string,
    ders: readonly Uint8Array[],
    purpose: 'signature' | 'key-agreement',
    nowMs: number,
  ): VerifiedIdentity {
    const chain = ders.map(parseCertificate);
    const [leaf] = chain;
    if (leaf === undefined || leaf.commonName !== device || parseDevicePath(device) === undefined) {
      const name = leaf?.commonName ?? '';
      throw new PkiError('pki.path_discipline', `the certificates of ${device} name ${JSON.stringify(name)}`);
    }
    // An expired certificate is kept for what was signed while it was valid; `requireInForce` looks at that.
    const atMs = Math.min(nowMs, leaf.notAfterMs);
    return verifyPath({ chain, roots: this.#roots, atMs, purpose });
  }

  add(device: string, { signature, keyAgreement }: VerifiedPair): void {
    const originator: Originator = {
      commonName: device,
      signature: signature.certificate,
      keyAgreement: keyAgreement.certificate,
      paths: [signature, keyAgreement],
    };
    this.#generation += 1;
    const all = [...(this.#byDevice.get(device) ?? []), originator];
    this.#byDevice.set(device, all.slice(-generationsMax));
    for (const former of all.slice(0, -generationsMax)) this.#forget(former);
    for (const [index, key] of this.#placesOf(originator)) index.set(key, originator);
  }

  #forget(former: Originator): void {
    for (const [index, key] of this.#placesOf(former)) {
      // A certificate may have been published in two pairs: the later one stays.
      if (index.get(key) === former) index.delete(key);
    }
  }

  #placesOf({
    signature,
    keyAgreement,
  }: Originator): (readonly [index: Map<string, Originator>, key: string])[] {
    return [keyAgreement, signature].flatMap((certificate) => {
      if (certificate === undefined) return [];
      const { subjectKeyIdentifier, issuerDer, serialNumber, curve, publicPoint } = certificate;
      const serial = `${issuerDer.toString('hex')}/${serialNumber.toString('hex')}`;
      return [
        ...(subjectKeyIdentifier === undefined
          ? []
          : [[this.#byKeyIdentifier, subjectKeyIdentifier.toString('hex')] as const]),
        [this.#byIssuerAndSerial, serial] as const,
        ...(publicPoint === undefined
          ? []
          : [[this.#byPublicPoint, `${curve}/${publicPoint.toString('hex')}`] as const]),
      ];
    });
  }
}

function isLeaf([leaf]: readonly Uint8Array[], certificate: Certificate | undefined): boolean {
  return leaf !== undefined && certificate?.der.equals(leaf) === true;
}
