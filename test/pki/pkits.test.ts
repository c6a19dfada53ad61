/** NIST PKITS: every path of the suite, as it was published. What is not processed here is refused, and listed with its reason. */
import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseCertificate } from '../../pki/certificate.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { parseCrl } from '../../pki/crl.ts';
import type { Crl } from '../../pki/crl.ts';
import { PkiError } from '../../pki/errors.ts';
import { validatePath } from '../../pki/path-validation.ts';
import { requireUnrevoked } from '../../pki/path.ts';
import { RevocationIndex } from '../../pki/revocation.ts';
import type { SignatureRules } from '../../pki/signature.ts';

const folder = path.resolve(import.meta.dirname, '../../../shared/data/pkits');

interface PathTest {
  readonly section: string;
  readonly title: string;
  readonly variant: number;
  readonly expected: 'valid' | 'invalid';
  readonly end_entity: string;
  readonly intermediates_leaf_first: readonly string[];
  readonly crls: readonly string[];
  readonly trust_anchor: string;
}

const { tests } = JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8')) as {
  readonly tests: readonly PathTest[];
};
/** All certificates and lists of the suite are valid by then. */
const atMs = 1_250_000_000_000;

/** The suite is of 2001: RSA and DSA with SHA-1, which no program here accepts. What counts is the path. */
const signatures: SignatureRules = {
  isSupported: (oid) => oid === '1.2.840.113549.1.1.5' || oid === '1.2.840.10040.4.3',
  isSignedBy: (signed, issuer) => verify('sha1', signed.toBeSigned, issuer.publicKey, signed.signature),
};

/** Valid paths that are refused here, by section: with which code, and why. */
const refusedHere: readonly (readonly [sections: RegExp, code: string, why: string])[] = [
  [/^4\.1\.5$/, 'pki.malformed_certificate', 'a DSA key without parameters; keys here are on named curves'],
  [/^4\.3\.(3|4|5|10|11)$/, 'pki.untrusted', 'names that differ as bytes: an issuer is written one way'],
  [/^4\.4\.14$/, 'pki.stale_crl', 'a list with a negative serial number (RFC 5280 §4.1.2.2 forbids it)'],
  [/^4\.5\.1$/, 'pki.stale_crl', 'a list under another key than the CA issues with'],
  [/^4\.6\.1[57]$/, 'pki.path_length', 'a CA below a CA of its own name, which counts as one more'],
  [/^4\.9\./, 'pki.unknown_critical_extension', 'policy constraints'],
  [/^4\.1[01]\./, 'pki.unknown_critical_extension', 'policy mappings'],
  [/^4\.12\./, 'pki.unknown_critical_extension', 'inhibitAnyPolicy'],
  [/^4\.13\./, 'pki.unknown_critical_extension', 'name constraints: path discipline stands in their place'],
  [/^4\.14\./, 'pki.stale_crl', 'lists that cover a part of what a CA issued'],
  [/^4\.15\./, 'pki.stale_crl', 'delta lists, and reasons that take a revocation back'],
];

/** Paths that only a validator of certificate policies refuses. No right follows from a policy here, so none is read. */
const policiesAlone = new Set([
  '4.8.1.2',
  '4.8.2.1',
  '4.8.3.1',
  '4.8.3.2',
  '4.8.4.0',
  '4.8.5.0',
  '4.8.6.2',
  '4.8.7.0',
  '4.8.8.0',
  '4.8.9.0',
  '4.8.12.0',
  '4.8.14.1',
  '4.8.15.1',
]);

for (const one of tests) {
  const { section, title, variant, expected } = one;
  const excluded = refusedHere.find(([sections]) => expected === 'valid' && sections.test(section));
  const isUnseen = policiesAlone.has(`${section}.${variant}`);
  const name = `validatePath: PKITS ${section}, ${title}, ${variant}`;
  test(`${name}: ${excluded === undefined ? expected : `refused here, for ${excluded[2]}`}`, () => {
    const code = codeOf(() => validate(one));
    if (isUnseen) {
      assert.equal(expected, 'invalid');
      assert.equal(code, undefined);
    } else if (excluded === undefined || code === undefined) {
      assert.equal(code === undefined ? 'valid' : 'invalid', expected, code);
    } else {
      assert.equal(code, excluded[1]);
    }
  });
}

test('PKITS: every path that is listed as an exception is one', () => {
  assert.equal(tests.length, 231);
  const valid = tests.filter(({ expected }) => expected === 'valid');
  for (const [sections] of refusedHere) {
    assert.ok(valid.some((one) => sections.test(one.section) && codeOf(() => validate(one)) !== undefined));
  }
  const refused = valid.filter((one) => codeOf(() => validate(one)) !== undefined);
  assert.equal(valid.length, 104);
  assert.equal(refused.length, 58);
  for (const key of policiesAlone) {
    assert.ok(tests.some(({ section, variant }) => `${section}.${variant}` === key));
  }
});

function validate({
  end_entity: leaf,
  intermediates_leaf_first: authorities,
  crls,
  trust_anchor: root,
}: PathTest): void {
  const chain = [leaf, ...authorities].map(certificateIn);
  const roots = [certificateIn(root)];
  const found = validatePath({ chain, roots, atMs, certificatesMax: 20, signatures });
  const revocation = new RevocationIndex(signatures);
  for (const crl of crls.map(crlIn)) {
    const issuer = found.authorities.find(({ subjectDer }) => crl?.issuerDer.equals(subjectDer));
    if (crl !== undefined && issuer !== undefined) addIfGood(revocation, crl, issuer);
  }
  const issuers = found.authorities.slice(0, -1);
  requireUnrevoked({ chain: [found.leaf, ...issuers], root: found.root }, revocation, atMs);
}

/** A list that is not accepted is as good as none, and without one a certificate is refused. */
function addIfGood(revocation: RevocationIndex, crl: Crl, issuer: Certificate): void {
  assert.doesNotThrow(() => codeOf(() => revocation.add(crl, issuer)));
}

function certificateIn(file: string): Certificate {
  return parseCertificate(readFileSync(path.join(folder, file)));
}

function crlIn(file: string): Crl | undefined {
  let crl: Crl | undefined;
  codeOf(() => (crl = parseCrl(readFileSync(path.join(folder, file)))));
  return crl;
}

/** @returns the code of what was thrown; undefined if nothing was */
function codeOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return error.code;
  }
}
