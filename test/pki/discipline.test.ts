import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Certificate } from '../../pki/certificate.ts';
import { derElement, derObjectIdentifier, derSequence } from '../../pki/der-writer.ts';
import { extensionOid } from '../../pki/extensions.ts';
import { issuersOf } from '../../pki/discipline.ts';
import { PkiError } from '../../pki/errors.ts';
import { verifyPath } from '../../pki/path.ts';
import type { VerifiedIdentity } from '../../pki/path.ts';
import { clientAuth, rogueCertificate } from './rogue-authority.ts';
import type { Rogue } from './rogue-authority.ts';

const nowMs = Date.now();
const keyPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const root = rogueCertificate({ commonName: 'Plombe TLS root', ca: { pathLength: 2 } });
const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });

/** The string types of X.520's DirectoryString, and others that parsers take for one. */
const stringTags = {
  utf8: 0x0c,
  numeric: 0x12,
  printable: 0x13,
  teletex: 0x14,
  ia5: 0x16,
  visible: 0x1a,
  universal: 0x1c,
  bmp: 0x1e,
} as const;
type StringType = keyof typeof stringTags;
interface Attribute {
  readonly oid: string;
  readonly type: StringType;
  readonly name: string;
}
type AlternativeNames = readonly { readonly tag: number; readonly name: string }[] | undefined;
/** RDNs of attributes. */
type Subject = readonly (readonly Attribute[])[];

const commonNameOid = '2.5.4.3';
const plainNames = ['ms-acc-1', 'ms-acc-1/acc-1', 'ms-acc-1/acc-1/dev-1', 'ms-acc-2', 'ms-acc-2/acc-1'];
const vendorNames = [
  'vendor',
  'vendor-broker',
  'vendor-snapshot-service',
  'MRO-Admin',
  'mro-admin',
  'Vendor-Broker',
];
const nearNames = [
  'ms-acc-10',
  'ms-acc-',
  'MS-ACC-1',
  'Ms-acc-1/acc-1',
  'ms-acc-1/ACC-1',
  'ms-acc-1/acc-1/dev-1/x',
];
const oddNames = [
  '',
  '/',
  '/ms-acc-1',
  'ms-acc-1/',
  'ms-acc-1//dev-1',
  'ms-acc-1/..',
  'ms-acc-1/../ms-acc-2',
  '#',
  '+',
];
const spacedNames = [
  'ms-acc-1 ',
  ' ms-acc-1',
  'ms-acc-1\n',
  'ms-acc-1/acc-1 ',
  'ms-acc-1%2facc-1',
  'ms-acc-1/+',
];
const cutNames = [
  'ms-acc-1\0',
  'ms-acc-1/acc-1\0/dev-1',
  'ms-acc-2\0ms-acc-1',
  'ms-acc-1\0.evil',
  'MRO-Admin\0',
];
const unicodeNames = [
  'm\u0455-acc-1', // a Cyrillic dze
  'ms-\u0430cc-1/acc-1', // a Cyrillic a
  'ms-acc-\u0661', // an Arabic-Indic one
  'ms-acc-1\u200B', // a space of no width
  '\u202Eorekorb-rodnev', // from right to left
  'ms\u2010acc\u20101',
  '\uFF4Ds-acc-1',
  'ms-acc-1/\u00e9',
  'ms-acc-1/e\u0301',
  '\uFEFFms-acc-1',
];

const anyName = fc.oneof(
  fc.constantFrom(...plainNames, ...vendorNames, ...nearNames),
  fc.constantFrom(...oddNames, ...spacedNames, ...cutNames, ...unicodeNames),
  fc.string({ maxLength: 30 }).map((text) => `ms-acc-1/${text}`),
  fc.string({ unit: 'binary', maxLength: 30 }),
);
const anyAttribute: fc.Arbitrary<Attribute> = fc.record({
  oid: fc.oneof({ arbitrary: fc.constant(commonNameOid), weight: 4 }, fc.constantFrom('2.5.4.10', '2.5.4.5')),
  type: fc.constantFrom(...(Object.keys(stringTags) as StringType[])),
  name: anyName,
});
const subjectOf = (name: string): Subject => [[{ oid: commonNameOid, type: 'utf8', name }]];
const plainSubject = fc.constantFrom(...plainNames, ...vendorNames).map(subjectOf);
const utf8Subject = anyName.map(subjectOf);
/** So that every outcome occurs in every run, and not only in most. */
const mixtures = [...plainNames, ...vendorNames].flatMap((authorityName) =>
  [...plainNames, ...vendorNames].map((name): [Subject, Subject] => [
    subjectOf(authorityName),
    subjectOf(name),
  ]),
);
const oddSubject: fc.Arbitrary<Subject> = fc.array(fc.array(anyAttribute, { minLength: 1, maxLength: 2 }), {
  maxLength: 3,
});
/** Each of these in each string type, alone, beside a second common name, and in one RDN with it. */
const examples = [
  ...plainNames,
  ...vendorNames,
  ...nearNames,
  ...spacedNames,
  ...cutNames,
  ...unicodeNames,
].flatMap((name) =>
  (Object.keys(stringTags) as StringType[]).flatMap((type): [Subject, AlternativeNames][] => {
    const own = { oid: commonNameOid, type, name };
    const other: Attribute = { oid: commonNameOid, type: 'utf8', name: 'ms-acc-1' };
    const services = [{ tag: 0x82, name: 'vendor-broker' }];
    return [
      [[[own]], services],
      [[[own], [other]], undefined],
      [[[other], [own]], undefined],
      [[[other, own]], undefined],
    ];
  }),
);
const anySubject = fc.oneof(plainSubject, utf8Subject, oddSubject);

function encodeString({ type, name }: Attribute): Buffer {
  if (type === 'utf8') return Buffer.from(name, 'utf8');
  if (type === 'bmp') return Buffer.from(name, 'utf16le').swap16();
  const octets = Buffer.from(name, 'latin1');
  return type === 'universal'
    ? Buffer.concat(Array.from(octets, (octet) => Buffer.of(0, 0, 0, octet)))
    : octets;
}

function encodeAttribute(attribute: Attribute): Buffer {
  const value = derElement(stringTags[attribute.type], encodeString(attribute));
  return derSequence(derObjectIdentifier(attribute.oid), value);
}

function encodeSubject(subject: Subject): Buffer {
  return derSequence(...subject.map((attributes) => derElement(0x31, ...attributes.map(encodeAttribute))));
}

/** An alternative name of any kind: what a subject may not say, it does not say there either. */
const anyAlternativeNames = fc.option(
  fc.array(fc.record({ tag: fc.constantFrom(0x81, 0x82, 0x86), name: anyName }), {
    minLength: 1,
    maxLength: 3,
  }),
  { nil: undefined, freq: 2 },
);

function leafBy(issuer: Rogue, subject: Subject, alternativeNames?: AlternativeNames): Certificate {
  const names = alternativeNames?.map(({ tag, name }) => derElement(tag, Buffer.from(name, 'utf8')));
  const extensions =
    names === undefined
      ? []
      : [{ oid: extensionOid.subjectAlternativeName, isCritical: false, value: derSequence(...names) }];
  const request = {
    issuer,
    subjectDer: encodeSubject(subject),
    keyPair,
    extendedKeyUsage: [clientAuth],
    extensions,
  };
  return rogueCertificate(request).certificate;
}

/** @returns the identity, or the code of the refusal; any other error fails the test */
function outcome(makeChain: () => readonly Certificate[]): VerifiedIdentity | string {
  try {
    return verifyPath({ chain: makeChain(), roots: [root.certificate], atMs: nowMs, purpose: 'tls-client' });
  } catch (error) {
    // OpenSSL itself finds some of these encodings malformed.
    assert.ok(error instanceof PkiError, String(error));
    return error.code;
  }
}

/** Said again in other words than the product's: the oracle. */
function requireInside(identity: VerifiedIdentity): void {
  assert.match(identity.commonName, /^ms-acc-1(\/[A-Za-z0-9._-]{1,20}){0,2}$/);
  assert.ok(!identity.path.some((segment) => /^\.+$/.test(segment)));
  assert.notEqual(identity.kind, 'service');
}

test("verifyPath: no leaf of a customer's CA is outside its subtree or a service, however it is encoded", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(anySubject, anyAlternativeNames, (subject, alternativeNames) => {
      const found = outcome(() => [leafBy(master, subject, alternativeNames), master.certificate]);
      if (typeof found !== 'string') requireInside(found);
      seen.add(typeof found === 'string' ? found : 'verified');
    }),
    { numRuns: examples.length + 1000, examples },
  );
  assert.ok(seen.has('pki.path_discipline') && seen.has('verified'));
});

test("verifyPath: no leaf below any CA that a customer's CA makes is outside its subtree", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      anySubject,
      anySubject,
      fc.constantFrom({}, { pathLength: 0 }),
      (caName, leafName, constraints) => {
        const found = outcome(() => {
          const ca = rogueCertificate({
            issuer: master,
            subjectDer: encodeSubject(caName),
            ca: constraints,
            keyPair,
          });
          return [leafBy(ca, leafName), ca.certificate, master.certificate];
        });
        if (typeof found !== 'string') requireInside(found);
        seen.add(typeof found === 'string' ? found : 'verified');
      },
    ),
    { numRuns: 1000, examples: [[subjectOf('ms-acc-1/acc-1'), subjectOf('ms-acc-1/acc-1'), {}]] },
  );
  assert.ok(seen.has('pki.path_discipline') && seen.has('verified'));
});

test('verifyPath: the order of the issuers, and what else comes with them, changes no verdict and no name', () => {
  const seen = new Set<string>();
  const decoys = ['ms-acc-1', 'ms-acc-2', 'vendor'].flatMap((commonName) => [
    rogueCertificate({ issuer: root, commonName, ca: { pathLength: 1 } }).certificate,
    rogueCertificate({ issuer: master, commonName, ca: {} }).certificate,
    rogueCertificate({ commonName, ca: {} }).certificate,
  ]);
  fc.assert(
    fc.property(
      anySubject,
      anySubject,
      fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
      fc.subarray([root.certificate, ...decoys], { maxLength: 4 }),
      (caName, leafName, places, others) => {
        let issuers: readonly Certificate[] = [];
        let leaf: Certificate | undefined;
        const inOrder = outcome(() => {
          const ca = rogueCertificate({
            issuer: master,
            subjectDer: encodeSubject(caName),
            ca: { pathLength: 0 },
            keyPair,
          });
          issuers = [ca.certificate, master.certificate];
          leaf = leafBy(ca, leafName);
          return [leaf, ...issuers];
        });
        if (leaf === undefined) return; // OpenSSL found no certificate in it
        const mixed = [...others];
        for (const [index, issuer] of issuers.entries())
          mixed.splice((places[index] ?? 0) % (mixed.length + 1), 0, issuer);
        const first = leaf;
        const found = outcome(() => [first, ...mixed]);
        if (typeof found === 'string' || typeof inOrder === 'string') assert.equal(found, inOrder);
        else {
          assert.deepEqual(found.chain, inOrder.chain);
          requireInside(found);
        }
        seen.add(typeof found === 'string' ? found : 'verified');
      },
    ),
    { numRuns: 500, examples: [[subjectOf('ms-acc-1/acc-1'), subjectOf('ms-acc-1/acc-1'), [1, 0, 0], []]] },
  );
  assert.ok(seen.has('pki.path_discipline') && seen.has('verified'));
});

test("verifyPath: whatever CA the root makes, no leaf below has a name other than the CA's, or one below", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(anySubject, anySubject, (caName, leafName) => {
      let authorityName: string | undefined;
      const found = outcome(() => {
        const ca = rogueCertificate({
          issuer: root,
          subjectDer: encodeSubject(caName),
          ca: { pathLength: 0 },
          keyPair,
        });
        authorityName = ca.certificate.commonName;
        return [leafBy(ca, leafName), ca.certificate];
      });
      if (typeof found === 'string') {
        seen.add(found);
        return;
      }
      seen.add(found.kind);
      assert.ok(authorityName !== undefined && !authorityName.includes('/'));
      const isVendor = authorityName === 'vendor';
      assert.equal(found.kind === 'service', isVendor);
      if (isVendor) assert.match(found.commonName, /^(vendor-[a-z0-9-]+|MRO-Admin)$/);
      else assert.equal(found.path[0], authorityName);
    }),
    { numRuns: 1500, examples: mixtures },
  );
  for (const kind of ['service', 'master-account', 'account', 'pki.path_discipline'])
    assert.ok(seen.has(kind), kind);
});

test('issuersOf: names the CAs between the root and an identity', () => {
  assert.deepEqual(issuersOf('ms-acc-1'), ['ms-acc-1']);
  assert.deepEqual(issuersOf('ms-acc-1/acc-1'), ['ms-acc-1', 'ms-acc-1/acc-1']);
  assert.deepEqual(issuersOf('ms-acc-1/acc-1/dev-1'), ['ms-acc-1', 'ms-acc-1/acc-1']);
  assert.deepEqual(issuersOf('vendor-broker'), ['vendor']);
  for (const wrong of ['', 'vendor', 'Vendor-Broker', 'a/b/c/d', 'a//b'])
    assert.equal(issuersOf(wrong), undefined);
});
