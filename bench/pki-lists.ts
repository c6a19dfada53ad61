/** Revocation lists as large as somebody wants them. */
import { randomBytes } from 'node:crypto';
import type { Authority } from '../pki/authority/authority.ts';
import { encodeCrlToBeSigned, signToBeSigned } from '../pki/authority/encode.ts';
import { loadAuthority } from '../pki/authority/store.ts';
import { parseCrl } from '../pki/crl.ts';
import { RevocationIndex } from '../pki/revocation.ts';

/** Lists of all three CAs, each with so many entries that concern others. */
export function indexOf(authority: Authority, entries: number): { index: RevocationIndex; der: Buffer } {
  const index = new RevocationIndex();
  const nowMs = Date.now();
  let der: Buffer = Buffer.alloc(0);
  for (const name of ['root', 'ms-acc-1', 'ms-acc-1/acc-1']) {
    const { certificate, key } = loadAuthority(authority.directory, 'tls', name, undefined);
    const template = {
      issuer: certificate,
      number: 1000,
      thisUpdateMs: nowMs,
      nextUpdateMs: nowMs + 86_400_000,
      entries: Array.from({ length: entries }, () => ({
        serialNumber: Buffer.concat([Buffer.of(1), randomBytes(16)]),
        revokedAtMs: nowMs,
        reason: 'keyCompromise' as const,
      })),
    };
    der = signToBeSigned(encodeCrlToBeSigned(template, key), key);
    index.add(parseCrl(der), certificate);
  }
  return { index, der };
}
