/** What is revoked, by issuer and serial number: one look-up of constant cost per certificate. */
import type { Certificate } from './certificate.ts';
import { requireIssuedBy } from './crl.ts';
import type { Crl, Revocation } from './crl.ts';
import { PkiError } from './errors.ts';
import { ecdsaSignatures } from './signature.ts';
import type { SignatureRules } from './signature.ts';

/** What to do when the newest CRL of an issuer is too old, or there is none. Never silent: `warn` is reported. */
export interface StalePolicy {
  readonly action: 'refuse' | 'warn';
  /** Counted from the list's thisUpdate; if absent, its nextUpdate decides. */
  readonly staleAfterMs?: number;
}

/** A list beside the CA that issued it. */
export interface IssuedCrl {
  readonly authority: Certificate;
  readonly crl: Crl;
}

/** Holds the newest list of each CA. Only lists whose signature was verified get in. */
export class RevocationIndex {
  readonly #byIssuer = new Map<string, IssuedCrl>();
  readonly #signatures: SignatureRules;

  constructor(signatures: SignatureRules = ecdsaSignatures) {
    this.#signatures = signatures;
  }

  /** How many CAs it holds a list of. */
  get size(): number {
    return this.#byIssuer.size;
  }

  /**
   * Takes a list in place of the older one of the same CA.
   *
   * @returns whether it is new here
   * @throws PkiError as `requireIssuedBy`, and `pki.crl_rollback` if its number is smaller than that of the list held,
   *   or the same on other content
   */
  add(crl: Crl, issuer: Certificate): boolean {
    const key = issuerKey(issuer);
    const held = this.#byIssuer.get(key)?.crl;
    if (held?.der.equals(crl.der) === true) return false;
    requireIssuedBy(crl, issuer, this.#signatures);
    if (held !== undefined && crl.number <= held.number) {
      const name = crl.issuerCommonName ?? 'a CA without a common name';
      throw new PkiError(
        'pki.crl_rollback',
        `cannot accept CRL number ${crl.number} of ${name}: number ${held.number} is here`,
      );
    }
    this.#byIssuer.set(key, { authority: issuer, crl });
    return true;
  }

  /** The newest list of a CA. */
  crlOf(issuer: Certificate): Crl | undefined {
    return this.#byIssuer.get(issuerKey(issuer))?.crl;
  }

  /** Everything that it holds. */
  lists(): Iterable<IssuedCrl> {
    return this.#byIssuer.values();
  }

  /** Whether and when `issuer` revoked the certificate with that serial number. */
  lookUp(issuer: Certificate, serialNumber: Buffer): Revocation | undefined {
    return this.crlOf(issuer)?.revoked.get(serialNumber.toString('hex'));
  }

  /** The same lists; adding to the one leaves the other as it is. */
  copy(): RevocationIndex {
    const copy = new RevocationIndex(this.#signatures);
    for (const [key, list] of this.#byIssuer) copy.#byIssuer.set(key, list);
    return copy;
  }

  /** Takes over another index's lists in place of its own, in one step. */
  replaceWith(other: RevocationIndex): void {
    this.#byIssuer.clear();
    for (const [key, list] of other.#byIssuer) this.#byIssuer.set(key, list);
  }
}

/** A CA is asked for with every envelope and every connect. */
const issuerKeys = new WeakMap<Certificate, string>();

/** By name and key, for the key identifier is whatever the certificate says, and two CAs may say the same. */
function issuerKey(issuer: Certificate): string {
  let key = issuerKeys.get(issuer);
  if (key === undefined) {
    key = `${issuer.subjectDer.toString('base64')} ${issuer.publicPoint?.toString('base64') ?? ''}`;
    issuerKeys.set(issuer, key);
  }
  return key;
}
