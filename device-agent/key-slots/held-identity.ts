/** A device's identity as it lies on the disk: also one that has expired, which can still ask for the next one. */
import path from 'node:path';
import type { NamespacePath } from '../../domain/namespace.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { certificatesFromPem } from '../../pki/certificate.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { PkiError } from '../../pki/errors.ts';
import { loadIdentity } from '../../pki/identity.ts';
import type { E2eIdentity, LoadIdentityOptions, TlsIdentity } from '../../pki/identity.ts';
import { inFile, readTextFile } from '../../pki/pem-file.ts';
import { KeySlotsError } from './errors.ts';
import { readPlace } from './place.ts';
import type { Place } from './place.ts';

export interface HeldIdentity {
  readonly path: NamespacePath;
  readonly tls: TlsIdentity;
  readonly e2e: E2eIdentity;
  /** How the device came here, if it changed hands. */
  readonly place: Place | undefined;
  /** Of the three certificates, the earliest. */
  readonly validUntilMs: number;
}

/** Of the time until it is due. */
const jitterFraction = 0.05;
const chainFiles = ['tls.chain.pem', 'sig.chain.pem', 'enc.chain.pem'];

/** @throws PkiError as `loadIdentity` but for an expiry, and if it is not a device; KeySlotsError `slots.malformed` */
export function loadHeldIdentity(
  directory: string,
  { nowMs, passphraseFile }: LoadIdentityOptions & { readonly nowMs: number },
): HeldIdentity {
  const expiries = chainFiles.map((name) => leafOf(path.join(directory, name)).notAfterMs);
  const validUntilMs = Math.min(...expiries);
  const identity = loadIdentity(directory, { passphraseFile, nowMs: Math.min(nowMs, validUntilMs) });
  const device = parseDevicePath(identity.commonName);
  if (device === undefined) {
    throw new PkiError('pki.path_discipline', `${directory}: ${identity.commonName} is not a device`);
  }
  const { tls, e2e } = identity;
  return { path: device, tls, e2e, place: readPlace(directory), validUntilMs };
}

/** @throws KeySlotsError `slots.expired` */
export function requireValid({ path: device, validUntilMs }: HeldIdentity, nowMs: number): void {
  if (nowMs <= validUntilMs) return;
  const when = new Date(validUntilMs).toISOString();
  throw new KeySlotsError('slots.expired', `the certificates of ${device} expired on ${when}`);
}

/**
 * When an identity is due to be renewed: the first of its three certificates.
 *
 * @param jitter - from 0 to 1: up to a twentieth later, so that a thousand devices do not ask at once
 */
export function renewalDueMs({ tls, e2e }: HeldIdentity, atFraction: number, jitter: number): number {
  const certificates = [tls.certificate, e2e.signature.certificate, e2e.keyAgreement.certificate];
  return Math.min(
    ...certificates.map(({ notBeforeMs, notAfterMs }) => {
      return notBeforeMs + (notAfterMs - notBeforeMs) * atFraction * (1 + jitter * jitterFraction);
    }),
  );
}

function leafOf(file: string): Certificate {
  const [leaf] = inFile(file, () => certificatesFromPem(readTextFile(file)));
  if (leaf === undefined) throw new PkiError('pki.malformed_certificate', `${file}: no certificate in it`);
  return leaf;
}
