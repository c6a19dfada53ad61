import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { PeerVerifier } from '../../../broker/access/identity.ts';
import type { Certificate } from '../../../pki/certificate.ts';
import { PkiError } from '../../../pki/errors.ts';
import { verifyPath } from '../../../pki/path.ts';
import { parsePeerChain } from '../../../pki/peer-chain.ts';
import { RevocationIndex } from '../../../pki/revocation.ts';
import { clientAuth, rogueCertificate, rogueCrl } from '../../pki/rogue-authority.ts';
import type { Rogue } from '../../pki/rogue-authority.ts';

const dayMs = 86_400_000;
const startMs = Date.now();

function authority(commonName: string, pathLength: number, issuer?: Rogue, keyPair?: Keys): Rogue {
  const validity = { notBeforeMs: startMs - 10 * dayMs, notAfterMs: startMs + 100 * dayMs };
  const ca = { ca: { pathLength }, commonName, ...validity };
  return rogueCertificate({ ...ca, ...(issuer && { issuer }), ...(keyPair && { keyPair }) });
}
type Keys = NonNullable<Parameters<typeof rogueCertificate>[0]['keyPair']>;
const keysOf = ({ key, certificate }: Rogue): Keys => ({ privateKey: key, publicKey: certificate.publicKey });

const root = authority('root', 2);
const master = authority('ms-acc-1', 1, root);
const account = authority('ms-acc-1/acc-1', 0, master);
/** The same name and key as `account`, another serial number: what a renewed CA looks like. */
const renewed = authority('ms-acc-1/acc-1', 0, master, keysOf(account));
/** Its own root, with names like ours. */
const foreignRoot = authority('root', 2);
const foreignMaster = authority('ms-acc-1', 1, foreignRoot);
const leaf = (commonName: string, issuer: Rogue, validity = {}): Rogue =>
  rogueCertificate({ commonName, issuer, extendedKeyUsage: [clientAuth], ...validity });
const device = leaf('ms-acc-1/acc-1/dev-1', account, { notAfterMs: startMs + 2 * dayMs });
const sibling = leaf('ms-acc-1/acc-1/dev-2', account);
const undisciplined = leaf('ms-acc-2/acc-1/dev-1', account);
const foreign = leaf('ms-acc-1/dev-1', foreignMaster);

const der = ({ certificate }: Rogue): Buffer => certificate.der;
const certificates = {
  root,
  master,
  account,
  renewed,
  foreignRoot,
  foreignMaster,
  device,
  sibling,
  undisciplined,
  foreign,
};

/** Signature bytes that differ while the rest is the same. */
function forged(of: Rogue): Buffer {
  const bytes = Buffer.from(der(of));
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 3) ^ 1, bytes.length - 3);
  return bytes;
}

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'accepted';
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return error.code;
  }
}

function verifierAt(
  clock: () => number,
  roots: readonly Certificate[],
  revocation = new RevocationIndex(),
): PeerVerifier {
  return new PeerVerifier({ roots, revocation, stalePolicy: { action: 'warn' }, expiredGraceMs: 0, clock });
}

test('PeerVerifier: whatever was presented before, the answer is that of a verification from scratch', () => {
  const presented: fc.Arbitrary<readonly Rogue[]> = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        [device, account, master],
        [device, renewed, master],
        [sibling, account, master],
      ),
    },
    fc.array(fc.constantFrom(...Object.values(certificates)), { minLength: 1, maxLength: 4 }),
  );
  const question = fc.record({
    chain: presented,
    /** Which certificate of it, if there are so many, comes with a broken signature. */
    forgedAt: fc.option(fc.nat(3), { freq: 4 }),
    atMs: fc.constantFrom(startMs, startMs + dayMs, startMs + 3 * dayMs, startMs - 20 * dayMs),
    revoked: fc.constantFrom(undefined, device, account),
  });
  fc.assert(
    fc.property(fc.array(question, { maxLength: 12 }), (questions) => {
      let nowMs = startMs;
      const revocation = new RevocationIndex();
      const verifier = verifierAt(() => nowMs, [root.certificate], revocation);
      for (const { chain, forgedAt, atMs, revoked } of questions) {
        nowMs = atMs;
        const lists = new RevocationIndex();
        if (revoked !== undefined) {
          const issuer = revoked === device ? account : master;
          const entry = {
            serialNumber: revoked.certificate.serialNumber,
            revokedAtMs: startMs - dayMs,
            reason: 'keyCompromise' as const,
          };
          lists.add(rogueCrl({ issuer, number: 1, entries: [entry] }), issuer.certificate);
        }
        revocation.replaceWith(lists);
        const ders = chain.map((one, index) => (index === forgedAt ? forged(one) : der(one)));
        const from = (): string =>
          verifyPath({
            chain: parsePeerChain(ders),
            roots: [root.certificate],
            atMs,
            purpose: 'tls-client',
            ...(lists.size > 0 && { revocation: lists, stalePolicy: { action: 'warn' } }),
          }).commonName;
        const expected = codeOf(from);
        assert.equal(
          codeOf(() => verifier.verifyPresented(ders, false)),
          expected,
        );
        if (expected === 'accepted') assert.equal(verifier.verifyPresented(ders, false).identity, from());
      }
    }),
    { numRuns: 60 },
  );
});

test('PeerVerifier: a leaf alone counts as known in a resumed session only, and only after its chain was verified', () => {
  const verifier = verifierAt(() => startMs, [root.certificate]);
  assert.equal(
    codeOf(() => verifier.verifyPresented([der(device)], true)),
    'pki.untrusted',
  );
  const { identity } = verifier.verifyPresented([device, account, master].map(der), false);
  assert.equal(identity, 'ms-acc-1/acc-1/dev-1');
  assert.equal(verifier.verifyPresented([der(device)], true).identity, identity);
  assert.equal(
    codeOf(() => verifier.verifyPresented([der(device)], false)),
    'pki.untrusted',
  );
  assert.equal(
    codeOf(() => verifier.verifyPresented([der(sibling)], true)),
    'pki.untrusted',
  );
  // With a chain of its own it is asked for in full, resumed or not.
  assert.equal(
    codeOf(() => verifier.verifyPresented([device, foreignMaster].map(der), true)),
    'pki.untrusted',
  );
  assert.equal(
    codeOf(() => verifier.verifyPresented([], true)),
    'pki.untrusted',
  );
});

test('PeerVerifier: what was refused is refused again, and does not spoil what was accepted', () => {
  const verifier = verifierAt(() => startMs, [root.certificate]);
  const good = [device, account, master].map(der);
  const bad = [der(device), forged(account), der(master)];
  for (let round = 0; round < 2; round++) {
    assert.equal(
      codeOf(() => verifier.verifyPresented(bad, false)),
      'pki.bad_signature',
    );
    assert.equal(
      codeOf(() => verifier.verifyPresented(good, false)),
      'accepted',
    );
  }
  assert.equal(
    codeOf(() => verifier.verifyPresented([undisciplined, account, master].map(der), false)),
    'pki.path_discipline',
  );
});

test('PeerVerifier: a chain that was known under other roots is not known any more', () => {
  const roots = [root.certificate];
  const verifier = verifierAt(() => startMs, roots);
  const ders = [device, account, master].map(der);
  assert.equal(
    codeOf(() => verifier.verifyPresented(ders, false)),
    'accepted',
  );
  roots.splice(0, 1, foreignRoot.certificate);
  assert.equal(
    codeOf(() => verifier.verifyPresented(ders, false)),
    'pki.untrusted',
  );
  assert.equal(
    codeOf(() => verifier.verifyPresented([der(device)], true)),
    'pki.untrusted',
  );
  roots.push(root.certificate);
  assert.equal(
    codeOf(() => verifier.verifyPresented(ders, false)),
    'accepted',
  );
});

test('PeerVerifier: a peer is valid as long as every certificate above it', () => {
  const soon = startMs + dayMs / 2;
  const brief = rogueCertificate({
    commonName: 'ms-acc-1',
    issuer: root,
    ca: { pathLength: 1 },
    notAfterMs: soon,
  });
  const peer = verifierAt(() => startMs, [root.certificate]).verifyPresented(
    [leaf('ms-acc-1', brief), brief].map(der),
    false,
  );
  assert.equal(peer.validUntilMs, Math.floor(soon / 1000) * 1000);
});

test('PeerVerifier: a leaf of another CA of the same name is nobody, with whatever CAs it comes', () => {
  // OpenSSL may have found a way for it that path discipline forbids: whose signature it bears, we verify ourselves.
  const impostor = rogueCertificate({
    commonName: 'ms-acc-1/acc-1',
    issuer: foreignMaster,
    ca: { pathLength: 0 },
  });
  const victim = leaf('ms-acc-1/acc-1/dev-9', impostor);
  const verifier = verifierAt(() => startMs, [root.certificate]);
  for (const chain of [
    [victim, account, master],
    [victim, account, impostor, master],
    [victim, impostor, master],
  ]) {
    assert.notEqual(
      codeOf(() => verifier.verifyPresented(chain.map(der), false)),
      'accepted',
    );
  }
  assert.equal(
    codeOf(() => verifier.verifyPresented([victim, account, master].map(der), false)),
    'pki.untrusted',
  );
});

test('PeerVerifier: of a leaf nothing is kept but its octets, its serial number and its name', () => {
  const verifier = verifierAt(() => startMs, [root.certificate]);
  const { verified } = verifier.verifyPresented([device, account, master].map(der), false);
  const [kept, ...authorities] = verified.chain;
  const { commonName, serialNumber } = device.certificate;
  assert.deepEqual({ ...kept }, { der: der(device), commonName, serialNumber });
  assert.deepEqual(
    authorities.map(({ commonName: name }) => name),
    ['ms-acc-1/acc-1', 'ms-acc-1'],
  );
});
