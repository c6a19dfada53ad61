/**
 * Our side of `npm run bench -- seal`, in a process of its own, so that its CPU time is that of the work. With `portable`
 * for an argument it does without WebAssembly.
 */
import { diffieHellman, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { encrypt } from '../cms/gcm.ts';
import type { KemKey } from '../cms/hybrid.ts';
import { wrapKey } from '../cms/key-wrap.ts';
import { createOpener } from '../cms/open.ts';
import { originatorsOf } from '../cms/originator.ts';
import type { RecipientKey } from '../cms/recipient.ts';
import { createSealer } from '../cms/seal.ts';
import type { CurveName } from '../pki/certificate.ts';
import { contextOf, makeIdentity, makeKem } from '../test/cms/identities.ts';
import type { Identity } from '../test/cms/identities.ts';
import type { CpuTime } from '../test/cms/interop/bouncy-castle.ts';

export interface Cell {
  readonly curve: CurveName;
  readonly operation: 'seal' | 'open';
  readonly recipients: number;
  /** `bare`: as BouncyCastle makes it, without our attribute. `hybrid`: signed, and for ML-KEM keys too. */
  readonly form: 'bare' | 'signed' | 'hybrid';
}

export type Floor = 'ECDH' | 'ECDSA sign' | 'ECDSA verify' | 'AES-256-GCM 1 KiB' | 'AES key wrap';

export type Asked =
  | { readonly kind: 'cell'; readonly cell: Cell; readonly cpuMs: number }
  | { readonly kind: 'size'; readonly cell: Cell }
  | { readonly kind: 'floor'; readonly floor: Floor; readonly cpuMs: number }
  | { readonly kind: 'memory'; readonly originators: number };

export interface MemoryCost {
  /** Of opening one envelope of each, CPU time. */
  readonly firstSeconds: number;
  readonly againSeconds: number;
  /** What the process grew by. */
  readonly heapBytes: number;
  readonly externalBytes: number;
  readonly residentBytes: number;
}

const contentBytes = 1024;
const envelopesInTurn = 16;

if (process.argv.includes('portable')) Reflect.deleteProperty(globalThis, 'WebAssembly');

process.on('message', (asked: Asked) => {
  process.send?.(answerTo(asked));
});

function answerTo(asked: Asked): CpuTime | MemoryCost | number {
  if (asked.kind === 'size') return sealingOf(asked.cell)().length - contentBytes;
  if (asked.kind === 'memory') return memoryOf(asked.originators);
  return measured(asked.kind === 'cell' ? operationOf(asked.cell) : floorOf(asked.floor), asked.cpuMs);
}

function measured(operation: () => void, cpuMs: number): CpuTime {
  const start = process.cpuUsage();
  let operations = 0;
  let used = 0;
  while (used < 1000 * cpuMs) {
    operation();
    operations++;
    used = cpuMicroseconds(start);
  }
  return { operations, cpuSeconds: used / 1e6 };
}

/** Of the whole process: what V8 compiles and collects meanwhile counts. */
function cpuMicroseconds(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

interface Reader extends Identity {
  readonly kem: KemKey;
}

interface People {
  readonly device: Identity;
  readonly readers: readonly Reader[];
}

const people = new Map<CurveName, People>();
const operations = new Map<string, () => void>();

/** The same for every round, so that whatever is made once is made in the first. */
function operationOf(cell: Cell): () => void {
  const key = JSON.stringify(cell);
  const kept = operations.get(key);
  if (kept !== undefined) return kept;
  const made = prepare(cell);
  operations.set(key, made);
  return made;
}

function peopleOn(curve: CurveName): People {
  const kept = people.get(curve);
  if (kept !== undefined) return kept;
  const device = makeIdentity('ms-acc-1/acc-1/dev-1', curve);
  const readers = Array.from({ length: 10 }, (_, index) => {
    const name = `ms-acc-${index}`;
    return { ...makeIdentity(name, curve), kem: makeKem(name) };
  });
  people.set(curve, { device, readers });
  return { device, readers };
}

function prepare(cell: Cell): () => void {
  const seal = sealingOf(cell);
  if (cell.operation === 'seal') return seal;
  const { device, readers } = peopleOn(cell.curve);
  const envelopes = Array.from({ length: envelopesInTurn }, seal);
  const [reader] = readers;
  if (reader === undefined) throw new Error('no reader');
  const recipient = cell.form === 'hybrid' ? { ...reader.recipient, kem: reader.kem } : reader.recipient;
  const opener = openerFor(recipient, [device], cell.form === 'bare');
  let turn = 0;
  return () => {
    const envelope = envelopes[turn++ % envelopes.length];
    if (envelope !== undefined) opener.open(envelope);
  };
}

function sealingOf({ curve, recipients, form }: Cell): () => Buffer {
  const { device, readers } = peopleOn(curve);
  const { keyAgreement } = device.sealKeys;
  const attributes = form === 'bare' ? 'plain' : 'plombe';
  // The content is random, so to deflate it would be work in vain, which BouncyCastle does not do either.
  const sealer = createSealer(form === 'bare' ? { keyAgreement } : device.sealKeys, {
    format: { attributes, compress: false },
  });
  const audience = readers.slice(0, recipients).map(({ recipient: { certificate }, kem }) => {
    return form === 'hybrid' ? { keyAgreement: certificate, kem: kem.certificate } : certificate;
  });
  const context = contextOf();
  const content = randomBytes(contentBytes);
  return () => sealer.seal(content, audience, context).envelope;
}

function openerFor(recipient: RecipientKey, devices: readonly Identity[], allowUnsigned: boolean) {
  const originators = originatorsOf(devices.map(({ originator }) => originator));
  return createOpener({ recipient, originators, policy: { allowUnsigned } });
}

function floorOf(floor: Floor): () => void {
  const [own, other] = [0, 1].map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  if (own === undefined || other === undefined) throw new Error('no keys');
  const [content, key, nonce] = [randomBytes(contentBytes), randomBytes(32), randomBytes(12)];
  const signature = sign('sha256', content, own.privateKey);
  const operations: Readonly<Record<Floor, () => void>> = {
    ECDH: () => void diffieHellman({ privateKey: own.privateKey, publicKey: other.publicKey }),
    'ECDSA sign': () => void sign('sha256', content, own.privateKey),
    'ECDSA verify': () => void verify('sha256', content, own.publicKey, signature),
    'AES-256-GCM 1 KiB': () => void encrypt(key, nonce, content, nonce),
    'AES key wrap': () => void wrapKey(key, key),
  };
  return operations[floor];
}

/** Opens one envelope of each of many devices, twice, and sees what stays in memory. */
function memoryOf(count: number): MemoryCost {
  const reader = makeIdentity('vendor-snapshot-service');
  const devices: Identity[] = [];
  const envelopes: Buffer[] = [];
  for (let index = 0; index < count; index++) {
    const device = makeIdentity(`ms-acc-1/acc-1/dev-${index}`);
    devices.push(device);
    const sealer = createSealer(device.sealKeys);
    envelopes.push(sealer.seal(randomBytes(64), [reader.recipient.certificate], contextOf()).envelope);
  }
  const opener = openerFor(reader.recipient, devices, false);
  const before = memoryNow();
  const firstSeconds = cpuSecondsOf(() => envelopes.forEach((envelope) => opener.open(envelope)));
  const after = memoryNow();
  const againSeconds = cpuSecondsOf(() => envelopes.forEach((envelope) => opener.open(envelope)));
  return {
    firstSeconds,
    againSeconds,
    heapBytes: after.heapUsed - before.heapUsed,
    externalBytes: after.external - before.external,
    residentBytes: after.rss - before.rss,
  };
}

function cpuSecondsOf(work: () => void): number {
  const start = process.cpuUsage();
  work();
  return cpuMicroseconds(start) / 1e6;
}

function memoryNow(): NodeJS.MemoryUsage {
  if (gc === undefined) throw new Error('started without --expose-gc');
  gc();
  return process.memoryUsage();
}
