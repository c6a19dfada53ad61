/** Whether chains lead to pinned roots, for many signatures by few signers: a path is verified once for as long as it is valid. */
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

export class ChainTrust {
  readonly #roots: readonly Certificate[];
  /** By its first certificate. A chain that does not lead there is asked about again. */
  readonly #verified = new WeakMap<Certificate, Span>();

  /** @param roots - of the E2E PKI; without any nobody is trusted */
  constructor(roots: readonly Certificate[]) {
    this.#roots = roots;
  }

  /** @param chain - leaf first, of a signer @param atMs - when it signed */
  covers(chain: readonly [Certificate, ...Certificate[]], atMs: number): boolean {
    const [leaf] = chain;
    const known = this.#verified.get(leaf);
    // Of what is verified, only the validity depends on the time (RFC 5280 §6.1.3 (a)(2)).
    if (known !== undefined && atMs >= known.fromMs && atMs <= known.toMs) return true;
    if (this.#roots.length === 0) return false;
    try {
      const { chain: path, root } = verifyPath({ chain, roots: this.#roots, atMs, purpose: 'signature' });
      const certificates = [...path, root];
      this.#verified.set(leaf, {
        fromMs: Math.max(...certificates.map(({ notBeforeMs }) => notBeforeMs)),
        toMs: Math.min(...certificates.map(({ notAfterMs }) => notAfterMs)),
      });
      return true;
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      return false;
    }
  }
}
