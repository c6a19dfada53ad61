/** Whose envelopes are believed: the devices' certificates as they published them, verified up to the pinned root. */
import { createHash } from 'node:crypto';
import { decode, encode } from 'cborg';
import type { Originator, Originators } from '../cms/originator.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import { parseDevicePath } from '../domain/namespace.ts';
import type { PublishedChain } from '../database/certificates.ts';
import type { CertificateKind } from '../database/schema.ts';
import { parseCertificate } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';
import type { Log } from '../runtime/log.ts';

interface Device {
  /** Of the publication that was taken last. */
  readonly fingerprint: string | undefined;
  readonly originators: readonly Originator[];
}

/** Former certificates of one device that are still looked up: old envelopes were signed with them. */
const originatorsPerDeviceMax = 16;

export class DeviceDirectory implements Originators {
  readonly #roots: readonly Certificate[];
  readonly #devices = new Map<string, Device>();
  readonly #byKeyIdentifier = new Map<string, Originator>();
  readonly #byIssuerAndSerial = new Map<string, Originator>();
  readonly #byPublicPoint = new Map<string, Originator>();
  #generation = 0;

  constructor(roots: readonly Certificate[]) {
    this.#roots = roots;
  }

  byKeyIdentifier(keyIdentifier: Buffer): Originator | undefined {
    return this.#byKeyIdentifier.get(keyIdentifier.toString('hex'));
  }

  byIssuerAndSerial(issuerDer: Buffer, serialNumber: Buffer): Originator | undefined {
    return this.#byIssuerAndSerial.get(`${issuerDer.toString('hex')}/${serialNumber.toString('hex')}`);
  }

  byPublicPoint(curve: string, point: Buffer): Originator | undefined {
    return this.#byPublicPoint.get(`${curve}/${point.toString('hex')}`);
  }

  /** Counts up with every certificate that is learnt. */
  get generation(): number {
    return this.#generation;
  }

  has(path: string): boolean {
    return this.#devices.has(path);
  }

  /** @returns the certificate to seal for a device with, or undefined if it has published none */
  keyAgreementOf(path: string): Certificate | undefined {
    return this.#devices.get(path)?.originators.at(-1)?.keyAgreement;
  }

  /**
   * Takes what a device published.
   *
   * @returns the verified chains, to be kept; undefined if they are the ones we have
   * @throws DeviceCertificatesError, PkiError
   */
  publish(path: string, payload: Uint8Array, nowMs: number): PublishedChain[] | undefined {
    const fingerprint = createHash('sha256').update(payload).digest('hex');
    if (this.#devices.get(path)?.fingerprint === fingerprint) return undefined;
    const { signature, keyAgreement } = decodeDeviceCertificates(payload);
    const pair = {
      signature: this.#verify(path, signature, 'sig', nowMs),
      keyAgreement: this.#verify(path, keyAgreement, 'enc', nowMs),
    };
    const newest = this.#devices.get(path)?.originators.at(-1);
    if (newest !== undefined && isSamePair(newest, pair)) {
      this.#devices.set(path, { fingerprint, originators: this.#devices.get(path)?.originators ?? [] });
      return undefined;
    }
    this.#add({ commonName: path, ...pair }, fingerprint);
    return [
      publishedChain('sig', pair.signature, signature),
      publishedChain('enc', pair.keyAgreement, keyAgreement),
    ];
  }

  /**
   * Takes the chains that were kept, the newest of each device last. They were verified when they were published;
   * they are verified again, because the pinned root may have changed since.
   */
  restore(
    kept: readonly { readonly path: string; readonly kind: CertificateKind; readonly chain: Uint8Array }[],
    nowMs: number,
    log: Log,
  ): void {
    const newest = new Map<string, Partial<Record<CertificateKind, Certificate>>>();
    for (const { path, kind, chain } of kept) {
      try {
        const pair = newest.get(path) ?? {};
        newest.set(path, pair);
        pair[kind] = this.#verify(path, decode(chain) as Uint8Array[], kind, nowMs);
        // Each former certificate is paired with the newest of the other kind before it.
        if (pair.sig !== undefined && pair.enc !== undefined) {
          this.#add({ commonName: path, signature: pair.sig, keyAgreement: pair.enc }, undefined);
        }
      } catch (error) {
        if (!(error instanceof PkiError)) throw error;
        log.warn({ path, kind, reason: error.code, detail: error.message }, 'certificate.dropped');
      }
    }
  }

  #verify(path: string, ders: readonly Uint8Array[], kind: CertificateKind, nowMs: number): Certificate {
    const chain = ders.map(parseCertificate);
    const [leaf] = chain;
    if (leaf === undefined || leaf.commonName !== path || parseDevicePath(path) === undefined) {
      throw new PkiError(
        'pki.path_discipline',
        `certificate of "${leaf?.commonName ?? ''}" came from ${path}`,
      );
    }
    // An expired certificate is kept for what was signed while it was valid; `requireInForce` looks at that.
    const atMs = Math.min(nowMs, leaf.notAfterMs);
    verifyPath({ chain, roots: this.#roots, atMs, purpose: kind === 'sig' ? 'signature' : 'key-agreement' });
    return leaf;
  }

  #add(originator: Originator, fingerprint: string | undefined): void {
    this.#generation += 1;
    const known = this.#devices.get(originator.commonName)?.originators ?? [];
    const originators = [...known, originator].slice(-originatorsPerDeviceMax);
    this.#devices.set(originator.commonName, { fingerprint, originators });
    for (const certificate of [originator.keyAgreement, originator.signature]) {
      if (certificate === undefined) continue;
      const { subjectKeyIdentifier, issuerDer, serialNumber, curve, publicPoint } = certificate;
      if (subjectKeyIdentifier !== undefined) {
        this.#byKeyIdentifier.set(subjectKeyIdentifier.toString('hex'), originator);
      }
      this.#byIssuerAndSerial.set(`${issuerDer.toString('hex')}/${serialNumber.toString('hex')}`, originator);
      if (publicPoint !== undefined) {
        this.#byPublicPoint.set(`${curve}/${publicPoint.toString('hex')}`, originator);
      }
    }
  }
}

function isSamePair(
  known: Originator,
  pair: { readonly signature: Certificate; readonly keyAgreement: Certificate },
): boolean {
  return (
    known.signature?.der.equals(pair.signature.der) === true &&
    known.keyAgreement.der.equals(pair.keyAgreement.der)
  );
}

function publishedChain(
  kind: CertificateKind,
  leaf: Certificate,
  chain: readonly Uint8Array[],
): PublishedChain {
  return {
    kind,
    sha256: leaf.sha256,
    subject: leaf.commonName ?? '',
    notBeforeMs: leaf.notBeforeMs,
    notAfterMs: leaf.notAfterMs,
    chain: encode(chain),
  };
}
