import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { EnrolmentError } from '../../enrolment/errors.ts';
import { readToken, tokenExpiresAtMs, tokenIdentity, writeToken } from '../../enrolment/token.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import { certificatesToPem } from '../../pki/certificate.ts';
import { PkiError } from '../../pki/errors.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-token-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const authority = createAuthority({ directory: path.join(directory, 'pki') });
const device = 'ms-acc-1/acc-1/dev-1';
const broker = { host: '2001:db8::1', port: 8883, name: 'ms-acc-1' };
const token = { path: device, broker, ...(await authority.invite({ path: device })), roots: authority.roots };
const text = writeToken(token);
const nowMs = Date.now();

test('readToken: reads back what writeToken wrote', () => {
  const read = readToken(text, nowMs);
  assert.deepEqual([read.path, read.broker], [device, broker]);
  for (const kind of ['tls', 'sig'] as const) {
    assert(read[kind].key.equals(token[kind].key));
    assert.equal(certificatesToPem(read[kind].chain), certificatesToPem(token[kind].chain));
  }
  assert.equal(tokenIdentity(read).commonName, device);
});

test('readToken: any one line that is missing is noticed, unless it is for people alone', () => {
  const lines = text.split('\n');
  for (const [index, line] of lines.entries()) {
    if (/^(Whoever|valid until|$)/.test(line)) continue;
    assert.throws(() => readToken(lines.toSpliced(index, 1).join('\n'), nowMs), Error, line);
  }
});

test('readToken: whatever is changed in it, it is refused with a reason or invites the same device', () => {
  const character = fc.string({ minLength: 1, maxLength: 1, unit: 'grapheme-ascii' });
  fc.assert(
    fc.property(fc.nat(text.length - 1), character, (at, to) => {
      try {
        assert.equal(readToken(text.slice(0, at) + to + text.slice(at + 1), nowMs).path, device);
      } catch (error) {
        assert(error instanceof EnrolmentError || error instanceof PkiError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test('readToken: after its time, and with keys of another device, it is refused', async () => {
  assert.throws(() => readToken(text, tokenExpiresAtMs(token) + 1), { code: 'pki.expired' });
  const another = await authority.invite({ path: 'ms-acc-1/acc-1/dev-2' });
  const mixed = [writeToken({ ...token, tls: another.tls }), writeToken({ ...token, sig: another.sig })];
  for (const bad of [...mixed, text.replaceAll(device, 'ms-acc-1/acc-1/dev-3'), '', 'PEM']) {
    assert.throws(() => readToken(bad, nowMs), { code: 'enrolment.malformed_token' });
  }
  const swapped = writeToken({ ...token, tls: token.sig, sig: token.tls });
  assert.throws(() => readToken(swapped, nowMs), PkiError);
  const full = await authority.issue({ path: device, outputDirectory: path.join(directory, 'full') });
  const { tls = token.tls } = full.certificates;
  assert.throws(() => readToken(writeToken({ ...token, tls }), nowMs), { code: 'pki.key_usage' });
});
