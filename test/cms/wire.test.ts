/** `docs/wire.md` says what the code does. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { readEnvelope } from '../../cms/envelope.ts';
import { enrolmentPurpose } from '../../pki/extensions.ts';
import { oids, oidText } from '../../cms/oid.ts';
import { createSealer } from '../../cms/seal.ts';
import type { SealFormat } from '../../cms/seal-format.ts';
import { contextOf, makeIdentity, makeKem } from './identities.ts';
import { vectors } from './vectors.ts';
import { envelopeNames, wireDump } from './wire-dump.ts';

const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/wire.md'), 'utf8');

test('docs/wire.md: the dump is that of the vector', () => {
  const [, shown] = /<!-- dump: p256-rfc5753 -->\s+```text\n(.*?)\n```/s.exec(page) ?? [];
  assert.equal(
    shown,
    wireDump(Buffer.from(vectors.get('p256-rfc5753')?.envelope ?? '', 'hex'), envelopeNames),
  );
});

test('docs/wire.md: the object identifiers are those of the code', () => {
  const shown = rowsAfter('oids').map(([name, dotted]) => [name, dotted]);
  assert.deepEqual(
    shown,
    Object.entries(oids).map(([name, content]) => [`\`${name}\``, `\`${oidText(content)}\``]),
  );
  assert(page.includes(`extended key usage \`${enrolmentPurpose}\``));
});

const counts = [1, 3, 10] as const;
const content = randomBytes(1024);
const device = makeIdentity('ms-acc-1/acc-1/dev-1');
const readers = Array.from({ length: Math.max(...counts) }, (_, index) => {
  const name = `reader-${index}`;
  return { keyAgreement: makeIdentity(name).recipient.certificate, kem: makeKem(name).certificate };
});
const { keyAgreement } = device.sealKeys;
const forms: Readonly<Record<string, (count: number) => number>> = {
  'bare, plain': (count) => overhead(count, { attributes: 'plain' }),
  'bare, with EnvelopeInfo': (count) => overhead(count, {}),
  'signed, with EnvelopeInfo': (count) => overheadSigned(count, false),
  'the same, all recipients with ML-KEM': (count) => overheadSigned(count, true),
};

test('docs/wire.md: the sizes are those of envelopes', () => {
  const shown = rowsAfter('sizes').map(([form = '', ...sizes]) => [
    form,
    sizes.slice(0, counts.length).map(numberOf),
  ]);
  const measured = Object.entries(forms).map(([form, measure]) => [form, counts.map(measure)]);
  assert.deepEqual(shown, measured);
});

test('seal: n recipients on P-256 cost at most 300 + 75·n octets, with signature and attribute less than 720 + 75·n', () => {
  for (const count of [1, 2, 3, 10, 100]) {
    const reader = makeIdentity('vendor-snapshot-service');
    const others = Array.from({ length: count - 1 }, (_, index) => makeIdentity(`reader-${index}`));
    const recipients = [reader, ...others].map(({ recipient }) => recipient.certificate);
    const sizeOf = (keys: typeof device.sealKeys, format: SealFormat) =>
      createSealer(keys, { format }).seal(content, recipients, context).envelope.length - content.length;
    assert.ok(sizeOf({ keyAgreement }, { attributes: 'plain' }) <= 300 + 75 * count);
    assert.ok(sizeOf(device.sealKeys, {}) < 720 + 75 * count);
  }
});

const context = contextOf({ sequence: 1_000_000, previousDigest: Buffer.alloc(32, 1) });

function overhead(count: number, format: SealFormat): number {
  const recipients = readers.slice(0, count).map((reader) => reader.keyAgreement);
  const sealer = createSealer({ keyAgreement }, { format });
  return sealer.seal(content, recipients, context).envelope.length - content.length;
}

/** Signatures of P-256 differ by some octets, so it is the usual largest that counts. */
function overheadSigned(count: number, isHybrid: boolean): number {
  const chosen = readers.slice(0, count);
  const recipients = isHybrid ? chosen : chosen.map((reader) => reader.keyAgreement);
  const { envelope } = createSealer(device.sealKeys).seal(content, recipients, context);
  const [signer] = readEnvelope(envelope).signedData?.signers ?? [];
  assert.ok(signer);
  const signatureBytesMax = 72;
  return envelope.length - signer.signature.length + signatureBytesMax - content.length;
}

/** @returns the cells of the table after a mark, without its head */
function rowsAfter(mark: string): readonly (readonly string[])[] {
  const [, table] = new RegExp(`<!-- ${mark} -->\\s+((?:\\|[^\\n]*\\n)+)`).exec(page) ?? [];
  assert.ok(table !== undefined, mark);
  const rows = table.trimEnd().split('\n').slice(2);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

function numberOf(text: string): number {
  return Number(text.replaceAll(',', ''));
}
