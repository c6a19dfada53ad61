/** BouncyCastle for Java in a process of its own, which the programs in `java/` make answer on standard input. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { RecipientKey } from '../../../cms/recipient.ts';
import type { SealContext } from '../../../cms/seal.ts';
import type { Certificate } from '../../../pki/certificate.ts';
import type { Identity } from '../identities.ts';

/** What a request or an answer holds; bytes travel in base64. */
type Words = Readonly<Record<string, Uint8Array | readonly Uint8Array[] | string | number>>;

export interface BouncyCastle {
  /** @throws BouncyCastleRefusal where BouncyCastle throws an exception */
  ask(verb: string, words: Words): Promise<Answer>;
  stop(): Promise<void>;
}

export interface Answer {
  octets(name: string): Buffer;
  text(name: string): string;
}

export class BouncyCastleRefusal extends Error {}

// Where Debian puts them (libbcprov-java, libbcpkix-java, and libbcutil-java, which the latter needs).
const classPath = ['bcpkix', 'bcprov', 'bcutil'].map((name) => `/usr/share/java/${name}.jar`);
const sources = path.join(import.meta.dirname, 'java');

/** Compiles the programs, in about two seconds, and starts them. */
export async function startBouncyCastle(...javaOptions: readonly string[]): Promise<BouncyCastle> {
  const classes = mkdtempSync(path.join(os.tmpdir(), 'plombe-java-'));
  const files = readdirSync(sources).map((name) => path.join(sources, name));
  const compiled = spawnSync('javac', ['-d', classes, '-cp', classPath.join(':'), ...files], {
    encoding: 'utf8',
  });
  if (compiled.status !== 0) {
    rmSync(classes, { recursive: true });
    throw new Error(`javac failed: ${compiled.error?.message ?? compiled.stderr}`);
  }
  // It ends with its standard input, so it never outlives this process, however this one ends.
  const java = spawn('java', [...javaOptions, '-cp', [classes, ...classPath].join(':'), 'Peer'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => java.once('close', resolve));
  const waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  createInterface({ input: java.stdout }).on('line', (line) => waiting.shift()?.resolve(line));
  void ended.then(() => {
    for (const { reject } of waiting) reject(new Error('the Java process ended'));
  });
  return {
    async ask(verb, words) {
      const answer = await new Promise<string>((resolve, reject) => {
        waiting.push({ resolve, reject });
        java.stdin.write(`${[verb, ...Object.entries(words).map(wordOf)].join(' ')}\n`);
      });
      if (!answer.startsWith('ok')) throw new BouncyCastleRefusal(answer);
      return answerOf(answer);
    },
    async stop() {
      java.stdin.end();
      await ended;
      rmSync(classes, { recursive: true, force: true });
    },
  };
}

/** A key as Java wants it. */
function pkcs8(key: KeyObject): Buffer {
  return key.export({ type: 'pkcs8', format: 'der' });
}

/** What stock BouncyCastle finds in an AuthEnvelopedData, and the key that it says made it. */
export async function openStock(
  peer: BouncyCastle,
  envelope: Uint8Array,
  { key, certificate }: RecipientKey,
): Promise<{ readonly content: Buffer; readonly originatorPoint: Buffer }> {
  const answer = await peer.ask('open', { envelope, key: pkcs8(key), recipient: certificate.der });
  return { content: answer.octets('content'), originatorPoint: answer.octets('originatorPoint') };
}

/** What the receiver in `java/Strict.java` finds in a signed envelope of ours. */
export async function openStrictly(
  peer: BouncyCastle,
  envelope: Uint8Array,
  { key, certificate }: RecipientKey,
  { signatureKey, recipient }: Pick<Identity, 'signatureKey' | 'recipient'>,
): Promise<{ readonly content: Buffer; readonly topic: string; readonly sequence: string }> {
  const answer = await peer.ask('openStrictly', {
    envelope,
    key: pkcs8(key),
    recipient: certificate.der,
    signer: signatureKey.certificate.der,
    originator: recipient.certificate.der,
  });
  return {
    content: answer.octets('content'),
    topic: answer.octets('topic').toString(),
    sequence: answer.text('sequence'),
  };
}

export interface StockSealing {
  readonly hash: string;
  readonly keyBytes: number;
  readonly originator: RecipientKey;
  readonly recipients: readonly Certificate[];
  readonly content: Uint8Array;
}

/** @returns a bare AuthEnvelopedData as stock BouncyCastle makes it */
export async function sealStock(peer: BouncyCastle, sealing: StockSealing): Promise<Buffer> {
  return (await peer.ask('seal', sealingWords(sealing))).octets('envelope');
}

/** @returns a signed envelope as `java/StrictSender.java` makes it */
export async function sealStrictly(
  peer: BouncyCastle,
  hash: string,
  { signatureKey, recipient }: Pick<Identity, 'signatureKey' | 'recipient'>,
  recipients: readonly Certificate[],
  { topic, sequence }: Pick<SealContext, 'topic' | 'sequence'>,
  content: Uint8Array,
): Promise<Buffer> {
  const answer = await peer.ask('sealStrictly', {
    hash,
    originatorKey: pkcs8(recipient.key),
    originator: recipient.certificate.der,
    signatureKey: pkcs8(signatureKey.key),
    signer: signatureKey.certificate.der,
    recipients: recipients.map(({ der }) => der),
    topic: Buffer.from(topic),
    sequence: Number(sequence),
    content,
  });
  return answer.octets('envelope');
}

export interface CpuTime {
  readonly operations: number;
  readonly cpuSeconds: number;
}

/** Seals as often as it can in `cpuMs` of CPU time. */
export async function measureStockSeal(
  peer: BouncyCastle,
  sealing: StockSealing,
  cpuMs: number,
): Promise<CpuTime> {
  return cpuTimeOf(await peer.ask('measureSeal', { ...sealingWords(sealing), cpuMs }));
}

/** Opens one envelope after the other, over and over, for `cpuMs` of CPU time. */
export async function measureStockOpen(
  peer: BouncyCastle,
  envelopes: readonly Uint8Array[],
  { key, certificate }: RecipientKey,
  cpuMs: number,
): Promise<CpuTime> {
  const words = { envelopes, key: pkcs8(key), recipient: certificate.der, cpuMs };
  return cpuTimeOf(await peer.ask('measureOpen', words));
}

function cpuTimeOf(answer: Answer): CpuTime {
  return { operations: Number(answer.text('operations')), cpuSeconds: Number(answer.text('cpuNs')) / 1e9 };
}

function sealingWords({ hash, keyBytes, originator, recipients, content }: StockSealing): Words {
  return {
    hash,
    keyBytes,
    originatorKey: pkcs8(originator.key),
    originator: originator.certificate.der,
    recipients: recipients.map(({ der }) => der),
    content,
  };
}

function wordOf([name, value]: [string, Words[string]]): string {
  if (typeof value === 'string' || typeof value === 'number') return `${name}=${value}`;
  const list = value instanceof Uint8Array ? [value] : value;
  return `${name}=${list.map((octets) => Buffer.from(octets).toString('base64')).join(',')}`;
}

function answerOf(line: string): Answer {
  const words = new Map(
    line
      .split(' ')
      .slice(1)
      .map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]),
  );
  const text = (name: string): string => {
    const value = words.get(name);
    assert.ok(value !== undefined, `no ${name} in the answer`);
    return value;
  };
  return { text, octets: (name) => Buffer.from(text(name), 'base64') };
}
