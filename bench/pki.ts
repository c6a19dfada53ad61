/**
 * The PKI: certificates issued, paths validated with and without what is remembered of them, and what a CRL of 10,000
 * entries costs, beside pkijs and OpenSSL in the same run. Rounds take turns, and the median counts.
 */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as asn1js from 'asn1js';
import * as pkijs from 'pkijs';
import { requireDebianPackages } from '../scripts/debian-packages.ts';
import { createAuthority } from '../pki/authority/authority.ts';
import type { Authority } from '../pki/authority/authority.ts';
import { certificatesToPem, parseCertificate } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { parseCrl } from '../pki/crl.ts';
import { requireUnrevoked, verifyPath } from '../pki/path.ts';
import type { RevocationIndex } from '../pki/revocation.ts';
import { medianOf } from './figures.ts';
import { benchField } from './pki-field.ts';
import { indexOf } from './pki-lists.ts';
import { milliseconds, perSecond, print } from './pki-print.ts';

interface Effort {
  readonly rounds: number;
  readonly roundMs: number;
}

const fullEffort: Effort = { rounds: 7, roundMs: 300 };
const quickEffort: Effort = { rounds: 1, roundMs: 30 };
const fullField = { connects: 200, connectRounds: 5, revocations: 7, enrolments: 1000 };
const quickField = { connects: 20, connectRounds: 1, revocations: 1, enrolments: 20 };
const entriesMany = 10_000;
const fewMicroseconds = 5;
const certificatesIssued = 200;
const device = 'ms-acc-1/acc-1/dev-1';

/** @param args - `--quick`: half a minute, to try the bench itself out */
export async function run(args: readonly string[]): Promise<void> {
  const isQuick = args.includes('--quick');
  const effort = isQuick ? quickEffort : fullEffort;
  requireDebianPackages(['mosquitto', 'openssl']);
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-bench-pki-'));
  try {
    const authority = createAuthority({ directory: path.join(folder, 'pki') });
    const [chain = []] = await authority.certify([requestFor(freshKey())]);
    await issuing(authority, folder);
    await validating(authority, chain, effort, folder);
    await revocation(authority, chain, effort);
    await benchField(folder, isQuick ? quickField : fullField);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function requestFor(publicKey: KeyObject) {
  return { path: device, kind: 'tls', publicKey } as const;
}

function freshKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
}

/** Every certificate is durable in the ledger twice before it is given out, so this is the disk's speed too. */
async function issuing(authority: Authority, folder: string): Promise<void> {
  const requests = Array.from({ length: certificatesIssued }, () => requestFor(freshKey()));
  const timed = async (work: () => Promise<unknown>): Promise<string> => {
    const startMs = performance.now();
    await work();
    return perSecond((1000 * requests.length) / (performance.now() - startMs));
  };
  const oneByOne = async (): Promise<void> => {
    for (const request of requests) await authority.certify([request]);
  };
  print('certificates issued, one by one, intent and issue fsynced', await timed(oneByOne));
  print(`  ${certificatesIssued} at a time`, await timed(() => authority.certify(requests)));
  const openssl = await timed(async () => signByOpenssl(folder, requests.length));
  print('  openssl x509 -req, a process each, no record and no fsync', openssl);
}

/** It signs one and the same request again and again: what it costs is the process. */
function signByOpenssl(folder: string, count: number): void {
  const openssl = (...args: string[]): void => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  if (!existsSync(path.join(folder, 'o-ca.pem'))) {
    openssl('req', '-x509', ...key, '-keyout', 'o-ca.key', '-subj', '/CN=CA', '-out', 'o-ca.pem');
    openssl('req', '-new', ...key, '-keyout', 'o.key', '-subj', '/CN=device', '-out', 'o.csr');
  }
  for (let index = 0; index < count; index++)
    openssl('x509', '-req', '-in', 'o.csr', '-CA', 'o-ca.pem', '-CAkey', 'o-ca.key', '-out', 'o.pem');
}

async function validating(
  { roots }: Authority,
  chain: readonly Certificate[],
  effort: Effort,
  folder: string,
): Promise<void> {
  const ders = chain.map(({ der }) => der);
  const rootDer = roots.tls.der;
  const question = { chain, roots: [roots.tls], atMs: Date.now(), purpose: 'tls-client' } as const;
  const rates = await rounds(effort, {
    cold: () =>
      void verifyPath({ ...question, chain: ders.map(parseCertificate), roots: [parseCertificate(rootDer)] }),
    parsed: () => void verifyPath(question),
    node: () => verifyByNode([...ders, rootDer]),
    pkijs: () => verifyByPkijs(ders, rootDer),
  });
  print('a path of four, parsed and validated', perSecond(rates.cold));
  print('  the same, parsed before and its CAs proven', perSecond(rates.parsed));
  print('  node:crypto, parse and signatures alone', perSecond(rates.node));
  print('  pkijs 4, CertificateChainValidationEngine', perSecond(rates.pkijs));
  writeFileSync(path.join(folder, 'root.pem'), certificatesToPem([roots.tls]));
  writeFileSync(path.join(folder, 'chain.pem'), certificatesToPem(chain));
  const startMs = performance.now();
  const files = Array<string>(100).fill(path.join(folder, 'chain.pem'));
  const { status, stderr } = spawnSync(
    'openssl',
    [
      'verify',
      '-CAfile',
      path.join(folder, 'root.pem'),
      '-untrusted',
      path.join(folder, 'chain.pem'),
      ...files,
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`openssl verify: ${stderr}`);
  print(
    '  openssl verify, 100 files in one process',
    perSecond(files.length / ((performance.now() - startMs) / 1000)),
  );
}

function verifyByNode(ders: readonly Buffer[]): void {
  const certificates = ders.map((der) => new X509Certificate(der));
  for (const [index, certificate] of certificates.entries()) {
    const issuer = certificates[index + 1] ?? certificate;
    if (!certificate.verify(issuer.publicKey)) throw new Error('a signature that does not verify');
  }
}

async function verifyByPkijs(ders: readonly Buffer[], rootDer: Buffer): Promise<void> {
  const engine = new pkijs.CertificateChainValidationEngine({
    certs: ders.map((der) => pkijs.Certificate.fromBER(Uint8Array.from(der).buffer)).toReversed(),
    trustedCerts: [pkijs.Certificate.fromBER(Uint8Array.from(rootDer).buffer)],
  });
  const { result, resultMessage } = await engine.verify();
  if (!result) throw new Error(`pkijs: ${resultMessage}`);
}

async function revocation(
  authority: Authority,
  chain: readonly Certificate[],
  effort: Effort,
): Promise<void> {
  const { roots } = authority;
  const atMs = Date.now();
  const verified = verifyPath({ chain, roots: [roots.tls], atMs, purpose: 'tls-client' });
  const small = indexOf(authority, 0);
  const large = indexOf(authority, entriesMany);
  const look = (index: RevocationIndex) => (): void => {
    for (let count = 0; count < 1000; count++) requireUnrevoked(verified, index, atMs);
  };
  const rates = await rounds(effort, { none: look(small.index), many: look(large.index) });
  const microseconds = (rate: number): string => `${(1e6 / (1000 * rate)).toFixed(2)} µs`;
  print('revocation of a path of four at a connect, lists of 0 entries', microseconds(rates.none));
  const addedMicroseconds = 1e3 / rates.many - 1e3 / rates.none;
  print(`  lists of ${entriesMany} entries`, microseconds(rates.many), {
    text: 'a few µs more',
    isReached: addedMicroseconds < fewMicroseconds,
  });
  const { der } = large;
  const serial = Buffer.from(chain[0]?.serialNumber ?? []);
  const parsing = await rounds(effort, {
    ours: () => void parseCrl(der),
    pkijs: () => {
      const { result } = asn1js.fromBER(Uint8Array.from(der).buffer, { maxNodes: 1_000_000 });
      void new pkijs.CertificateRevocationList({ schema: result });
    },
  });
  print(`parse of a CRL of ${entriesMany} entries`, milliseconds(parsing.ours));
  print('  pkijs 4', milliseconds(parsing.pkijs));
  const { result } = asn1js.fromBER(Uint8Array.from(der).buffer, { maxNodes: 1_000_000 });
  const theirs = new pkijs.CertificateRevocationList({ schema: result });
  const ours = parseCrl(der);
  const leaf = pkijs.Certificate.fromBER(Uint8Array.from(chain[0]?.der ?? []).buffer);
  const looking = await rounds(effort, {
    ours: () => {
      for (let count = 0; count < 1000; count++) ours.revoked.has(serial.toString('hex'));
    },
    pkijs: () => void theirs.isCertificateRevoked(leaf),
  });
  print('look-up in it', microseconds(looking.ours));
  print('  pkijs 4, which scans', milliseconds(looking.pkijs));
}

/** @returns calls per second of each, the median of rounds in which they take turns */
async function rounds<Name extends string>(
  { rounds: count, roundMs }: Effort,
  works: Readonly<Record<Name, () => void | Promise<void>>>,
): Promise<Record<Name, number>> {
  const names = Object.keys(works) as Name[];
  const rates = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = -1; round < count; round++) {
    for (const name of names) {
      let calls = 0;
      const startMs = performance.now();
      let elapsedMs = 0;
      for (; elapsedMs < roundMs; calls++, elapsedMs = performance.now() - startMs) await works[name]();
      if (round >= 0) rates[name].push((1000 * calls) / elapsedMs); // the first warms up
    }
  }
  return Object.fromEntries(names.map((name) => [name, medianOf(rates[name])])) as Record<Name, number>;
}
