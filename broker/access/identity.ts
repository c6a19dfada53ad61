/** Who a connection is: the verified common name of its certificate, and for how long. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../domain/clock.ts';
import { enrolmentTopic } from '../../domain/topic.ts';
import { parsePresentedLeaf } from '../../pki/certificate.ts';
import type { Certificate } from '../../pki/certificate.ts';
import type { VerifiedPath } from '../../pki/path.ts';
import { isBootstrap, requireUnrevoked, verifyPath } from '../../pki/path.ts';
import { parseAuthority, peerChain, presentedCertificates, requireChain } from '../../pki/peer-chain.ts';
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
  readonly verified: VerifiedPath;
}

/** A chain that was verified, and what of that does not change. */
interface KnownChain {
  /** What came with the leaf; all of it must be the same again. The same octets are the same object. */
  readonly presented: readonly Certificate[];
  readonly validFromMs: number;
  readonly peer: Peer;
}

/** Leaves whose chain is known; 1 KiB to 2 KiB each, most of it the certificate itself. */
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
    const [leaf, ...others] = requireChain(ders);
    const leafDigest = hash('sha256', leaf, 'base64');
    const presented = others.map(parseAuthority);
    const known = this.#knownChain(leafDigest, nowMs);
    if (known !== undefined && ((isResumed && others.length === 0) || areSame(known.presented, presented))) {
      this.recheck(known.peer);
      return known.peer;
    }
    const { peer, validFromMs } = this.#verify([parsePresentedLeaf(leaf), ...presented], nowMs);
    this.#remember(leafDigest, { presented, validFromMs, peer });
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

  #verify(chain: readonly Certificate[], atMs: number): Omit<KnownChain, 'presented'> {
    const { roots, expiredGraceMs } = this.#options;
    const [leaf] = chain;
    const purpose = leaf !== undefined && isBootstrap(leaf) ? 'enrolment-client' : 'tls-client';
    const verified = verifyPath({ chain, roots, atMs, purpose, expiredGraceMs });
    const { commonName, scope, certificate, root } = verified;
    const [, ...authorities] = verified.chain;
    const all = [certificate, ...authorities, root];
    const isExpired = atMs > certificate.notAfterMs;
    return {
      validFromMs: Math.max(...all.map(({ notBeforeMs }) => notBeforeMs)),
      peer: {
        identity: scope === 'full' ? commonName : (enrolmentTopic(commonName) ?? assert.fail('a device')),
        validUntilMs: Math.min(
          ...all.map(({ notAfterMs }, index) => notAfterMs + (index === 0 && isExpired ? expiredGraceMs : 0)),
        ),
        verified: { chain: [keptOf(certificate), ...authorities], root },
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

function areSame(one: readonly Certificate[], other: readonly Certificate[]): boolean {
  return one.length === other.length && one.every((certificate, index) => certificate === other[index]);
}

/** Each field of a certificate is a view of its octets, and each view takes as much memory as a short name. */
function keptOf({ der, serialNumber, commonName }: Certificate): VerifiedPath['chain'][0] {
  return { der, serialNumber, commonName };
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
