/** Who a connection is: the verified common name of its certificate, and for how long. */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../domain/clock.ts';
import type { Certificate } from '../../pki/certificate.ts';
import type { VerifiedIdentity } from '../../pki/path.ts';
import { requireUnrevoked, verifyPath } from '../../pki/path.ts';
import { peerChain } from '../../pki/peer-chain.ts';
import type { RevocationIndex, StalePolicy } from '../../pki/revocation.ts';

export interface PeerVerifierOptions {
  /** Pinned, of the TLS PKI. */
  readonly roots: readonly Certificate[];
  /** Undefined until a list was loaded: then nothing is revoked. */
  readonly revocation: RevocationIndex;
  readonly stalePolicy: StalePolicy;
  readonly clock: Clock;
}

export interface Peer {
  readonly identity: string;
  readonly validUntilMs: number;
  readonly verified: VerifiedIdentity;
}

/** Chains of certificates seen in full handshakes; a resumed TLS session brings the leaf alone. */
const rememberedChainsMax = 20_000;

export class PeerVerifier {
  readonly #options: PeerVerifierOptions;
  readonly #chains = new Map<string, readonly Certificate[]>();

  constructor(options: PeerVerifierOptions) {
    this.#options = options;
  }

  /** @throws PkiError with the reason why the peer is nobody */
  verify(socket: TLSSocket): Peer {
    const peer = this.verifyChain(this.#chainOf(socket), this.#options.clock());
    this.#requireUnrevoked(peer.verified);
    return peer;
  }

  /**
   * Who a chain was at a time; `recheck` says whether it still is.
   *
   * @throws PkiError with the reason why it was nobody
   */
  verifyChain(chain: readonly Certificate[], atMs: number): Peer {
    const verified = verifyPath({ chain, roots: this.#options.roots, atMs, purpose: 'tls-client' });
    return {
      identity: verified.commonName,
      validUntilMs: Math.min(...verified.chain.map(({ notAfterMs }) => notAfterMs)),
      verified,
    };
  }

  /** @throws PkiError `pki.revoked` or `pki.stale_crl`, for a peer that was connected before a list came */
  recheck(peer: Peer): void {
    this.#requireUnrevoked(peer.verified);
  }

  #requireUnrevoked(verified: VerifiedIdentity): void {
    const { revocation, stalePolicy, clock } = this.#options;
    // Without any list the policy says nothing either: a broker that has no CRL yet must be reachable to get one.
    if (revocation.size > 0) requireUnrevoked(verified, revocation, clock(), stalePolicy);
  }

  #chainOf(socket: TLSSocket): readonly Certificate[] {
    const chain = peerChain(socket);
    const key = chain[0]?.sha256.toString('base64') ?? '';
    if (chain.length === 1 && socket.isSessionReused()) return this.#chains.get(key) ?? chain;
    this.#chains.delete(key);
    this.#chains.set(key, chain);
    if (this.#chains.size > rememberedChainsMax) {
      const [oldest] = this.#chains.keys();
      if (oldest !== undefined) this.#chains.delete(oldest);
    }
    return chain;
  }
}

/** The name that an unverified certificate claims, for the log alone. */
export function claimedName(socket: TLSSocket): string | undefined {
  try {
    return peerChain(socket)[0]?.commonName?.slice(0, 64);
  } catch {
    return undefined; // it is not even a certificate; the verifier says so
  }
}
