/** Who a connection is: the verified common name of its certificate, and for how long. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../domain/clock.ts';
import { enrolmentTopic } from '../../domain/topic.ts';
import type { Certificate } from '../../pki/certificate.ts';
import type { VerifiedIdentity } from '../../pki/path.ts';
import { isBootstrap, requireUnrevoked, verifyPath } from '../../pki/path.ts';
import { parsePeerChain, peerChain, presentedCertificates } from '../../pki/peer-chain.ts';
import type { RevocationIndex, StalePolicy } from '../../pki/revocation.ts';

export interface PeerVerifierOptions {
  /** Pinned, of the TLS PKI. */
  readonly roots: readonly Certificate[];
  /** Undefined until a list was loaded: then nothing is revoked. */
  readonly revocation: RevocationIndex;
  readonly stalePolicy: StalePolicy;
  /** For so long after its expiry a device's certificate is still good for enrolment. */
  readonly expiredGraceMs: number;
  readonly clock: Clock;
}

export interface Peer {
  /** The common name of its certificate; of one that may only be enrolled, the topic where it asks for that. */
  readonly identity: string;
  readonly validUntilMs: number;
  readonly verified: VerifiedIdentity;
}

/** A chain that was verified, and what of that does not change. */
interface KnownChain {
  /** Digests of the certificates that were presented; all of them must be the same again. */
  readonly digests: string;
  readonly validFromMs: number;
  readonly peer: Peer;
}

/** Leaves whose chain is known; a few KiB each. */
const knownChainsMax = 20_000;

/**
 * Verifies each chain once. OpenSSL has proven in every handshake that the peer has the leaf's key; what our verifier adds
 * (path discipline, purpose, and the signatures a second time) depends on the certificates and the roots alone, and costs
 * a third of a handshake. Time and revocation do change, so they are looked at every time.
 */
export class PeerVerifier {
  readonly #options: PeerVerifierOptions;
  /** By the leaf's digest, the longest unused first. Only what was verified gets in. */
  readonly #known = new Map<string, KnownChain>();

  constructor(options: PeerVerifierOptions) {
    this.#options = options;
  }

  /** @throws PkiError with the reason why the peer is nobody */
  verify(socket: TLSSocket): Peer {
    return this.verifyPresented(presentedCertificates(socket), socket.isSessionReused());
  }

  /**
   * @param ders - what the peer presented, leaf first; all of it, so that nobody lends another chain's result
   * @param isResumed - a resumed TLS session brings the leaf alone, in what we sealed ourselves (RFC 8446 §4.6.1)
   * @throws PkiError with the reason why the peer is nobody
   */
  verifyPresented(ders: readonly Buffer[], isResumed: boolean): Peer {
    const nowMs = this.#options.clock();
    const [leafDigest = '', ...others] = ders.map((der) => hash('sha256', der, 'base64'));
    const digests = [leafDigest, ...others].join(' ');
    const known = this.#knownChain(leafDigest, nowMs);
    if (known !== undefined && (known.digests === digests || (isResumed && ders.length === 1))) {
      this.recheck(known.peer);
      return known.peer;
    }
    const { peer, validFromMs } = this.#verify(parsePeerChain(ders), nowMs);
    this.#remember(leafDigest, { digests, validFromMs, peer });
    this.recheck(peer);
    return peer;
  }

  /**
   * Who a chain was at a time; `recheck` says whether it still is.
   *
   * @throws PkiError with the reason why it was nobody
   */
  verifyChain(chain: readonly Certificate[], atMs: number): Peer {
    return this.#verify(chain, atMs).peer;
  }

  /** @throws PkiError `pki.revoked` or `pki.stale_crl`, for a peer that was connected before a list came */
  recheck({ verified }: Peer): void {
    const { revocation, stalePolicy, clock } = this.#options;
    // Without any list the policy says nothing either: a broker that has no CRL yet must be reachable to get one.
    if (revocation.size > 0) requireUnrevoked(verified, revocation, clock(), stalePolicy);
  }

  #verify(chain: readonly Certificate[], atMs: number): Omit<KnownChain, 'digests'> {
    const { roots, expiredGraceMs } = this.#options;
    const [leaf] = chain;
    const purpose = leaf !== undefined && isBootstrap(leaf) ? 'enrolment-client' : 'tls-client';
    const verified = verifyPath({ chain, roots, atMs, purpose, expiredGraceMs });
    const { commonName, scope, certificate } = verified;
    const all = [...verified.chain, verified.root];
    const isExpired = atMs > certificate.notAfterMs;
    return {
      validFromMs: Math.max(...all.map(({ notBeforeMs }) => notBeforeMs)),
      peer: {
        identity: scope === 'full' ? commonName : (enrolmentTopic(commonName) ?? assert.fail('a device')),
        validUntilMs: Math.min(
          ...all.map(({ notAfterMs }, index) => notAfterMs + (index === 0 && isExpired ? expiredGraceMs : 0)),
        ),
        verified,
      },
    };
  }

  /** @returns undefined for one that has to be verified, or to be refused with a reason */
  #knownChain(leafDigest: string, nowMs: number): KnownChain | undefined {
    const known = this.#known.get(leafDigest);
    if (known === undefined) return undefined;
    const { validFromMs, peer } = known;
    const isValid = nowMs >= validFromMs && nowMs <= peer.validUntilMs;
    if (!isValid || !this.#options.roots.includes(peer.verified.root)) return undefined;
    this.#remember(leafDigest, known);
    return known;
  }

  #remember(leafDigest: string, chain: KnownChain): void {
    this.#known.delete(leafDigest);
    this.#known.set(leafDigest, chain);
    if (this.#known.size <= knownChainsMax) return;
    const [longestUnused] = this.#known.keys();
    if (longestUnused !== undefined) this.#known.delete(longestUnused);
  }
}

/**
 * Whether our own verifier is to judge a chain that OpenSSL did not accept. It verifies all that OpenSSL does, and of
 * expiry it knows more: a device whose certificate is out of date may still be enrolled.
 */
export function isForVerifier({ authorized, authorizationError }: TLSSocket): boolean {
  return authorized || String(authorizationError) === 'CERT_HAS_EXPIRED';
}

/** The name that an unverified certificate claims, for the log alone. */
export function claimedName(socket: TLSSocket): string | undefined {
  try {
    return peerChain(socket)[0]?.commonName?.slice(0, 64);
  } catch {
    return undefined; // it is not even a certificate; the verifier says so
  }
}
