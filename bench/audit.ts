/**
 * The auditor on one core: envelopes opened, checked and appended, with and without the release gate, and the ledger of a
 * million entries: its size, its verification, its proofs. Nothing crosses a network, so that the figures are ours alone.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Gate } from '../auditor/gate.ts';
import { openArchive } from '../auditor/archive.ts';
import { openHeldStore } from '../auditor/held-store.ts';
import { Judge } from '../auditor/judge.ts';
import { Obedience } from '../auditor/obedience.ts';
import { PolicyCheck } from '../auditor/policy-check.ts';
import { openRecord } from '../auditor/record.ts';
import { Recorder } from '../auditor/recorder.ts';
import type { ContentSigner } from '../cms/signed-content.ts';
import { createOpener } from '../cms/open.ts';
import { OriginatorDirectory } from '../cms/originator-directory.ts';
import { originatorsOf } from '../cms/originator.ts';
import { createSealer } from '../cms/seal.ts';
import { parseDevicePath, parseNamespacePath } from '../domain/namespace.ts';
import { encodeSenmlCbor } from '../domain/senml.ts';
import { proveConsistency, proveInclusion } from '../ledger/exported-proof.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { openLedger } from '../ledger/ledger-file.ts';
import { countersignHead, readHead, signHead } from '../ledger/tree-head.ts';
import { verifyLedger } from '../ledger/verify.ts';
import { createAuthority } from '../pki/authority/authority.ts';
import type { Certificate } from '../pki/certificate.ts';
import { loadE2eIdentity } from '../pki/identity.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import { RevocationLists } from '../pki/revocation-lists.ts';
import { Policies } from '../policy/policies.ts';
import { createLog } from '../runtime/log.ts';
import { createMetrics } from '../runtime/observe.ts';
import { authority, makeIdentity, signingTimeMs } from '../test/cms/identities.ts';
import { medianOf, quantileOf } from './figures.ts';

interface Effort {
  /** Of both modes in turn; the medians are shown. */
  readonly rounds: number;
  readonly envelopes: number;
  /** One after the other, for the delay. */
  readonly single: number;
  readonly leaves: number;
}

const fullEffort: Effort = { rounds: 3, envelopes: 5000, single: 500, leaves: 1_000_000 };
const quickEffort: Effort = { rounds: 1, envelopes: 600, single: 20, leaves: 5000 };
const channels = 40;
/** As many as come at once from a broker. */
const burst = 256;
/** An entry a second, and a head a minute. */
const leavesPerHead = 60;
const device = parseDevicePath('ms-acc-1/acc-1/dev-1');
const scope = parseNamespacePath('ms-acc-1');
const verificationGoalSeconds = 30;
/** That the vendor holds, and the ledger is compared with. */
const countersignedHeads = 100;

/** @param args - `quick` for a smoke test */
export async function run(args: readonly string[]): Promise<void> {
  const effort = args.includes('quick') ? quickEffort : fullEffort;
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-bench-audit-'));
  try {
    const sealed = sealMany(effort.envelopes + effort.single);
    const figures: Record<Mode, Figures[]> = { observe: [], enforce: [] };
    for (let round = 0; round < effort.rounds; round++) {
      for (const mode of modes) {
        figures[mode].push(await audit(mode, sealed, effort, path.join(folder, `${mode}-${round}`)));
      }
    }
    printAudits(mediansOf(figures.observe), mediansOf(figures.enforce));
    await measureLedger(effort.leaves, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const originator = makeIdentity('ms-acc-1/acc-1/dev-1');
const owner = makeIdentity('ms-acc-1');
const vendor = makeIdentity('vendor-snapshot-service');
const root = authority.certificate;
const topic = 'ms-acc-1/acc-1/dev-1/snapshots';

function sealMany(count: number): Buffer[] {
  const sealer = createSealer(originator.sealKeys);
  const recipients = [vendor, owner].map(({ recipient }) => recipient.certificate);
  let previousDigest: Buffer | undefined;
  return Array.from({ length: count }, (_, index) => {
    const readings = Array.from({ length: channels }, (_value, channel) => ({
      channel: `group.channel-${channel}`,
      value: index + channel / 7,
    }));
    const timeMs = signingTimeMs + index;
    const content = encodeSenmlCbor(required(device), { timeMs, deviceType: 'T', readings });
    const made = sealer.seal(content, recipients, {
      topic,
      sequence: index + 1,
      previousDigest,
      contentType: 'senml+cbor',
      signingTimeMs,
    });
    previousDigest = made.digest;
    return made.envelope;
  });
}

const modes = ['observe', 'enforce'] as const;
type Mode = (typeof modes)[number];

interface Figures {
  readonly perSecond: number;
  readonly perCpuSecond: number;
  /** Until one that comes alone may go on. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly bytesPerEntry: number;
}

async function audit(
  mode: Mode,
  sealed: readonly Buffer[],
  { envelopes, single }: Effort,
  directory: string,
): Promise<Figures> {
  const log = createLog('bench', 'silent');
  const metrics = createMetrics();
  const clock = Date.now;
  const lists = new RevocationLists({
    directory,
    roots: [root],
    stalePolicy: { action: 'warn' },
    metrics,
    log,
  });
  const record = openRecord(directory, required(scope), clock());
  const held = openHeldStore(directory);
  const archive = openArchive({ directory, days: 30, bytesMax: 1e9, clock, log });
  const shared = { clock, log, metrics };
  const recipients = [vendor, owner].map(({ recipient: { certificate } }) => identityOf(certificate));
  const paths = [{ chain: [originator.originator.keyAgreement], root }] as const;
  const gate = new Gate({
    ...shared,
    scope: required(scope),
    record,
    held,
    signer: owner.signatureKey,
    publish: () => Promise.resolve(),
    askMs: 1000,
    atDeadline: 'denied',
  });
  const certificates = new OriginatorDirectory([root]);
  const obedience = new Obedience();
  const judge = new Judge({
    issuers: [],
    record,
    directory: certificates,
    opener: createOpener({
      recipient: owner.recipient,
      originators: originatorsOf([{ ...originator.originator, paths }]),
    }),
    check: new PolicyCheck({
      policies: new Policies({ ...shared, directory, roots: [root], lists }),
      history: { of: () => [] },
      recipients,
      roots: [root],
      withoutPolicy: 'release',
      clock,
    }),
    obedience,
    lists,
    graceMs: 0,
  });
  const recorder = new Recorder({
    ...shared,
    record,
    directory: certificates,
    judge,
    obedience,
    gate: mode === 'enforce' ? gate : undefined,
    archive,
    lists,
    waitMs: 0,
  });
  const take = (envelope: Buffer): Promise<void> =>
    new Promise((acknowledge) => {
      recorder.take(
        { device: required(device), content: 'snapshot', waits: true, topic, envelope },
        acknowledge,
      );
    });
  const many = sealed.slice(0, envelopes);
  await inBursts(many.slice(0, burst), take);
  const rest = many.slice(burst);
  const startMs = performance.now();
  const before = process.cpuUsage();
  await inBursts(rest, take);
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - startMs) / 1000;
  const cpuSeconds = (user + system) / 1e6;
  const delays: number[] = [];
  for (const envelope of sealed.slice(envelopes, envelopes + single)) {
    const sinceMs = performance.now();
    await take(envelope);
    delays.push(performance.now() - sinceMs);
  }
  recorder.stop();
  archive.close();
  gate.stop();
  const { entries, alarms } = record.counts();
  if (entries !== envelopes + single || alarms > 0) throw new Error(`${entries} entries, ${alarms} alarms`);
  const bytesPerEntry = statSync(path.join(directory, 'egress.ledger')).size / entries;
  record.close();
  held.close();
  return {
    perSecond: rest.length / seconds,
    perCpuSecond: rest.length / cpuSeconds,
    p50Ms: quantileOf(delays, 0.5),
    p99Ms: quantileOf(delays, 0.99),
    bytesPerEntry,
  };
}

function mediansOf(rounds: readonly Figures[]): Figures {
  const median = (of: (figures: Figures) => number): number => medianOf(rounds.map(of));
  return {
    perSecond: median(({ perSecond }) => perSecond),
    perCpuSecond: median(({ perCpuSecond }) => perCpuSecond),
    p50Ms: median(({ p50Ms }) => p50Ms),
    p99Ms: median(({ p99Ms }) => p99Ms),
    bytesPerEntry: median(({ bytesPerEntry }) => bytesPerEntry),
  };
}

function printAudits(observe: Figures, enforce: Figures): void {
  for (const [mode, figures] of [
    ['observe', observe],
    ['enforce', enforce],
  ] as const) {
    const { perSecond, perCpuSecond, p50Ms, p99Ms, bytesPerEntry } = figures;
    print(
      `${mode}: envelopes audited on one core`,
      `${perSecond.toFixed(0)}/s, ${perCpuSecond.toFixed(0)} a CPU-second`,
    );
    print('  one at a time, until it may go on', `p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`);
    print('  bytes of the ledger for an entry', bytesPerEntry.toFixed(0));
  }
  const share = (100 * enforce.perCpuSecond) / observe.perCpuSecond;
  const [p50, p99] = [enforce.p50Ms - observe.p50Ms, enforce.p99Ms - observe.p99Ms];
  print(
    'enforce against observe',
    `${share.toFixed(0)} % of the throughput; ${signed(p50)} at p50, ${signed(p99)} at p99`,
  );
}

async function inBursts(
  envelopes: readonly Buffer[],
  take: (envelope: Buffer) => Promise<void>,
): Promise<void> {
  for (let start = 0; start < envelopes.length; start += burst) {
    await Promise.all(envelopes.slice(start, start + burst).map(take));
  }
}

/** Whose certificates lead to a root as everywhere: making sure of that is a part of the verification. */
async function signersIn(folder: string): Promise<{
  readonly roots: readonly [Certificate];
  readonly owner: ContentSigner;
  readonly vendor: ContentSigner;
}> {
  const directory = path.join(folder, 'authority');
  const real = createAuthority({ directory });
  const signerOf = async (name: string): Promise<ContentSigner> => {
    const outputDirectory = path.join(folder, name);
    await real.issue({ path: name, outputDirectory });
    return loadE2eIdentity(outputDirectory).signature;
  };
  return {
    roots: [real.roots.e2e],
    owner: await signerOf('ms-acc-1'),
    vendor: await signerOf('vendor-snapshot-service'),
  };
}

async function measureLedger(leaves: number, folder: string): Promise<void> {
  const file = path.join(folder, 'egress.ledger');
  const signers = await signersIn(folder);
  const beganMs = Date.now();
  const { ledger } = openLedger(file, { owner: required(scope), timeMs: beganMs });
  const startMs = performance.now();
  const countersigned: Buffer[] = [];
  for (let start = 1; start < leaves; start += leavesPerHead) {
    const count = Math.min(leavesPerHead, leaves - start);
    ledger.append(Array.from({ length: count }, (_, index) => passage(start + index)));
    ledger.appendHead(signers.owner, beganMs);
    if (countersigned.length > (start / leaves) * countersignedHeads) continue;
    countersigned.push(
      countersignHead(signHead(ledger.head, signers.owner, beganMs), signers.vendor, beganMs),
    );
  }
  const { size } = ledger.head;
  ledger.close();
  print(
    `ledger: ${size} entries, appended and signed for ${leavesPerHead} at a time`,
    perSecond(size, startMs),
  );
  print('  bytes for an entry, heads included', (statSync(file).size / size).toFixed(0));
  const verifyMs = performance.now();
  const before = process.cpuUsage();
  const { fault, heads } = verifyLedger(file, {
    roots: signers.roots,
    heads: countersigned.map((head) => readHead(head)),
  });
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - verifyMs) / 1000;
  if (fault !== undefined) throw new Error(fault.detail);
  const goal = leaves === fullEffort.leaves ? `; goal under ${verificationGoalSeconds} s` : '';
  const cpu = `${((user + system) / 1e6).toFixed(1)} s of CPU`;
  print(
    `  verified, with ${heads} signed heads and ${countersigned.length} countersigned`,
    `${seconds.toFixed(1)} s, ${cpu}${goal}`,
  );
  const proofs = [proveInclusion(file, Math.floor(size / 3)), proveConsistency(file, Math.floor(size / 3))];
  for (const { kind, path: nodes, ...proof } of proofs) {
    const bytes = JSON.stringify({ kind, path: nodes, ...proof }).length;
    print(
      `  proof of ${kind}`,
      `${nodes.length} nodes, ${nodes.length * 32} bytes; ${bytes} as JSON with head and chain`,
    );
  }
}

function passage(sequence: number): PassageLeaf {
  return {
    kind: 'passage',
    timeMs: signingTimeMs + sequence,
    direction: 'out',
    topic: `ms-acc-1/acc-1/dev-${sequence % 100}/snapshots`,
    sequence: Math.floor(sequence / 100) + 1,
    signingTimeMs: signingTimeMs + sequence,
    digest: digestOf(`${sequence}`),
    previousDigest: digestOf(`${sequence - 100}`),
    recipients: [vendor, owner].map(({ originator: { commonName }, recipient: { certificate } }) => ({
      identifier: required(certificate.subjectKeyIdentifier).toString('hex'),
      name: commonName,
    })),
    channels: { count: channels, digest: digestOf('channels') },
    bytes: 1200,
    outcome: 'released',
    alarm: undefined,
    policy: 3,
    decidedBy: undefined,
  };
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function identityOf(certificate: VerifiedIdentity['certificate']): VerifiedIdentity {
  const commonName = required(certificate.commonName);
  return {
    commonName,
    kind: commonName.startsWith('vendor-') ? 'service' : 'master-account',
    path: [commonName],
    certificate,
    scope: 'full',
    chain: [certificate],
    root,
    warnings: [],
  };
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('there is one');
  return value;
}

function signed(ms: number): string {
  return `${ms < 0 ? '' : '+'}${ms.toFixed(2)} ms`;
}

function perSecond(count: number, startMs: number): string {
  return `${(count / ((performance.now() - startMs) / 1000)).toFixed(0)}/s`;
}

function print(what: string, figure: string): void {
  console.log(`${what.padEnd(62)} ${figure}`);
}
