/** The certificates that devices published, as the database keeps them: old envelopes were made with old keys. */
import { decode, encode } from 'cborg';
import type { OriginatorDirectory, VerifiedPair } from '../cms/originator-directory.ts';
import type { PublishedChain } from '../database/certificates.ts';
import type { CertificateKind } from '../database/schema.ts';
import type { DeviceCertificates } from '../domain/device-certificates.ts';
import { parseCertificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { KeptChain } from './opener-messages.ts';

/** @param certificates - verified */
export function publishedChains({ signature, keyAgreement }: DeviceCertificates): PublishedChain[] {
  return [publishedChain('sig', signature), publishedChain('enc', keyAgreement)];
}

/**
 * Takes the chains that were kept, the newest of each device last. They were verified when they were published;
 * they are verified again, because the pinned root may have changed since.
 */
export function restoreOriginators(
  directory: OriginatorDirectory,
  kept: readonly KeptChain[],
  nowMs: number,
  onDropped: (chain: KeptChain, reason: PkiError) => void,
): void {
  const newest = new Map<string, Partial<VerifiedPair>>();
  for (const one of kept) {
    const { path, kind, chain } = one;
    try {
      const ders = decode(chain) as Uint8Array[]; // our own encoding
      const verified =
        kind === 'sig'
          ? { signature: directory.verify(path, ders, 'signature', nowMs) }
          : { keyAgreement: directory.verify(path, ders, 'key-agreement', nowMs) };
      const pair = { ...newest.get(path), ...verified };
      newest.set(path, pair);
      // Each former certificate is paired with the newest of the other kind before it.
      const { signature, keyAgreement } = pair;
      if (signature !== undefined && keyAgreement !== undefined)
        directory.add(path, { signature, keyAgreement });
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      onDropped(one, error);
    }
  }
}

function publishedChain(kind: CertificateKind, chain: readonly Uint8Array[]): PublishedChain {
  const leaf = parseCertificate(chain[0] ?? new Uint8Array());
  return {
    kind,
    sha256: leaf.sha256,
    subject: leaf.commonName ?? '',
    notBeforeMs: leaf.notBeforeMs,
    notAfterMs: leaf.notAfterMs,
    chain: encode(chain),
  };
}
