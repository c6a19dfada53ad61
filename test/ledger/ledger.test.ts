import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import * as fc from 'fast-check';
import { checkProof, proveConsistency, proveInclusion } from '../../ledger/exported-proof.ts';
import { channelsDigest, decodeLeaf, encodeLeaf } from '../../ledger/leaf.ts';
import type { NumberedLeaf } from '../../ledger/leaf.ts';
import { openLedger } from '../../ledger/ledger-file.ts';
import { encodeRecord, fileHeader } from '../../ledger/records.ts';
import { countersignHead, headBody, readHead, signHead } from '../../ledger/tree-head.ts';
import { verifyLedger } from '../../ledger/verify.ts';
import type { LedgerFault, Verification } from '../../ledger/verify.ts';
import { certificatesToPem } from '../../pki/certificate.ts';
import {
  device,
  digestOf,
  makeParties,
  openAt,
  owner,
  passage,
  piecesOf,
  timeMs,
  writePieces,
} from './written.ts';
import type { Parties, Piece } from './written.ts';

const vendor = 'vendor-snapshot-service';

interface Written {
  readonly parties: Parties;
  readonly file: string;
  /** Of 5 leaves, countersigned. */
  readonly held: Buffer;
  readonly pieces: Piece[];
  readonly verify: (heads?: readonly Buffer[]) => Verification;
  /** Puts other pieces in place, and says what is found. */
  readonly with: (
    pieces: readonly { octets: Uint8Array }[],
    heads?: readonly Buffer[],
  ) => LedgerFault | undefined;
}

/** Leaves 0 to 4, a head, leaves 5 to 8, a head, leaf 9. */
async function write(context: TestContext): Promise<Written> {
  const parties = await makeParties(context, vendor);
  const file = path.join(parties.folder, 'egress.ledger');
  const signer = parties.signerOf(owner);
  const ledger = openAt(file);
  ledger.append([1, 2, 3, 4].map((sequence) => passage(sequence)));
  ledger.appendHead(signer, timeMs);
  const held = countersignHead(signHead(ledger.head, signer, timeMs), parties.signerOf(vendor), timeMs);
  ledger.append([5, 6, 7].map((sequence) => passage(sequence)));
  ledger.append([passage(8)]);
  ledger.appendHead(signer, timeMs);
  ledger.append([passage(9)]);
  ledger.close();
  const verify = (heads: readonly Buffer[] = []): Verification =>
    verifyLedger(file, { roots: parties.roots, heads: heads.map((head) => readHead(head)) });
  return {
    parties,
    file,
    held,
    pieces: piecesOf(file),
    verify,
    with: (pieces, heads) => {
      writePieces(file, pieces);
      return verify(heads).fault;
    },
  };
}

/** Leaf `number` with another content, and everything about the record itself right. */
function forged(number: number, changes: Parameters<typeof passage>[1] = {}): { octets: Buffer } {
  return { octets: encodeRecord('leaf', encodeLeaf(number, passage(number, changes))) };
}

test('encodeLeaf: what was written is read, octet for octet the same', () => {
  const channels = { kind: 'channels', names: ['level', 'ok'] } as const;
  assert.deepEqual(decodeLeaf(encodeLeaf(3, channels)), { number: 3, ...channels });
  const leaf = passage(7, {
    sequence: undefined,
    signingTimeMs: -5,
    channels: undefined,
    alarm: { reason: 'cms.rejected', detail: 'why' },
    policy: 12,
    decidedBy: 'Anna',
    recipients: [{ identifier: 'serial number 01', name: undefined }],
  });
  assert.deepEqual(decodeLeaf(encodeLeaf(7, leaf)), { number: 7, ...leaf });
  assert.notDeepEqual(channelsDigest(['a', 'b']), channelsDigest(['b', 'a']));
});

test('decodeLeaf: whatever octets come, it reads them or says that they are malformed', () => {
  const whole = Buffer.from(encodeLeaf(7, passage(7)));
  for (let end = 0; end < whole.length; end++) {
    assert.throws(() => decodeLeaf(whole.subarray(0, end)), { code: 'ledger.malformed' });
  }
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const other = Buffer.from(whole);
      other[at] = (other[at] ?? 0) ^ change;
      let read: NumberedLeaf;
      try {
        read = decodeLeaf(other);
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, 'ledger.malformed');
        return;
      }
      // One leaf has one encoding: whatever is read is what would have been written.
      assert.deepEqual(Buffer.from(encodeLeaf(read.number, read)), other);
    }),
  );
});

test('decodeLeaf: what could be written in another way was not written by us', () => {
  const leaf = passage(7, {
    signingTimeMs: -5,
    channels: undefined,
    recipients: [{ identifier: 'serial number 01', name: undefined }],
  });
  const whole = Buffer.from(encodeLeaf(7, leaf)).toString('latin1');
  assert.equal(decodeLeaf(Buffer.from(whole, 'latin1')).number, 7);
  const others: readonly (readonly [what: string, from: string, to: string])[] = [
    ['a number in two octets', '\x92\x07', '\x92\x18\x07'],
    ['a length in two octets', '\x82\x70serial', '\x82\x78\x10serial'],
    ['an indefinite array', '\x81\x82\x70serial', '\x9f\x82\x70serial'],
    ['a negative number in two octets', '\x07\x24\x58', '\x07\x38\x04\x58'],
    ['a float', '\x92\x07', '\x92\xf9\x47\x00'],
    ['undefined in place of null', '\xf6\xf6', '\xf6\xf7'],
    ['a key identifier as a text', '\x70serial number 01', '\x70aabbccddeeff0011'],
    ['a key identifier of no octets', '\x70serial number 01', '\x40'],
    ['a text that is no UTF-8', '\x70serial number 01', '\x70serial number \xff1'],
    ['a tag', '\x92\x07', '\x92\xc1\x07'],
    ['half of what belongs together', '\x00\xf6\xf6', '\x00\xf6\x61a'],
  ];
  for (const [what, from, to] of others) {
    assert.ok(whole.includes(from), what);
    const other = Buffer.from(whole.replace(from, to), 'latin1');
    assert.throws(() => decodeLeaf(other), { code: 'ledger.malformed' }, what);
  }
  assert.throws(() => decodeLeaf(Buffer.from(`${whole}\x00`, 'latin1')), { code: 'ledger.malformed' });
});

test('verifyLedger: an untouched ledger: its entries, its root and who signed it', async (context) => {
  const { verify, held } = await write(context);
  const found = verify([held]);
  assert.equal(found.fault, undefined);
  assert.deepEqual(
    [found.owner, found.leaves, found.passages, found.heads, found.bytes],
    [owner, 10, 9, 2, 9000],
  );
  assert.deepEqual([found.gaps, found.forks, found.tornBytes], [[], [], 0]);
  assert.equal(found.signedHead?.size, 9);
  assert.deepEqual(found.signedHead?.signers, [{ commonName: owner, timeMs, isTrusted: true }]);
});

test('verifyLedger: one octet changed anywhere is found, and the entry is named', async (context) => {
  const { file, verify, pieces } = await write(context);
  const whole = readFileSync(file);
  let at = fileHeader.length;
  let leaves = 0;
  for (const { kind, octets } of pieces) {
    for (const within of [0, 1, 6, octets.length - 20, octets.length - 1]) {
      const other = Buffer.from(whole);
      other[at + within] = (other[at + within] ?? 0) ^ 1;
      writeFileSync(file, other);
      if (leaves === 0) assert.throws(() => verify(), { code: 'ledger.malformed' });
      else
        assert.equal(
          verify().fault?.leaf,
          leaves,
          `${kind} ${leaves}, octet ${within}: ${verify().fault?.detail}`,
        );
    }
    at += octets.length;
    if (kind === 'leaf') leaves += 1;
  }
});

test('verifyLedger: an entry that was edited with everything of its record right is found by the next head', async (context) => {
  const { pieces, with: put } = await write(context);
  const edited = pieces.with(2, { ...pieces[2], ...forged(2, { bytes: 999 }) } as Piece);
  assert.deepEqual(put(edited), {
    reason: 'head_mismatch',
    leaf: 0,
    detail: 'leaves 0 to 4 are not those that the head of 5 leaves was signed for',
  });
  const later = pieces.with(7, { ...pieces[7], ...forged(6, { digest: digestOf('another') }) } as Piece);
  assert.deepEqual([put(later)?.reason, put(later)?.leaf], ['head_mismatch', 5]);
});

test('verifyLedger: a deletion and a reordering name the first entry that is not in its place', async (context) => {
  const { pieces, with: put } = await write(context);
  assert.deepEqual(
    [put(pieces.toSpliced(3, 1))?.reason, put(pieces.toSpliced(3, 1))?.leaf],
    ['misplaced', 3],
  );
  const [third, fourth] = [pieces[3], pieces[4]];
  assert.ok(third && fourth);
  const swapped = pieces.with(3, fourth).with(4, third);
  assert.deepEqual([put(swapped)?.reason, put(swapped)?.leaf], ['misplaced', 3]);
  const twice = pieces.toSpliced(3, 0, third);
  assert.deepEqual([put(twice)?.reason, put(twice)?.leaf], ['misplaced', 4]);
});

test('verifyLedger: one that was cut off is shorter than a head that somebody else holds', async (context) => {
  const { pieces, with: put, held, verify } = await write(context);
  assert.equal(put(pieces.slice(0, 4)), undefined); // by itself a shorter ledger is a ledger
  const fault = verify([held]).fault;
  assert.deepEqual([fault?.reason, fault?.leaf], ['truncated', 4]);
  assert.match(fault?.detail ?? '', /vendor-snapshot-service.* signed a head of 5 leaves; there are 4/);
});

test('verifyLedger: rewritten by its own operator, signatures and all, it is not what the other party countersigned', async (context) => {
  const { parties, file, held } = await write(context);
  const [beginning] = piecesOf(file);
  assert.ok(beginning);
  writePieces(file, [beginning]);
  const ledger = openAt(file);
  ledger.append([1, 2, 3, 4].map((sequence) => passage(sequence, sequence === 3 ? { bytes: 1 } : {})));
  ledger.appendHead(parties.signerOf(owner), timeMs);
  ledger.close();
  const { roots } = parties;
  assert.equal(verifyLedger(file, { roots }).fault, undefined); // nobody could tell
  const fault = verifyLedger(file, { roots, heads: [readHead(held)] }).fault;
  assert.equal(fault?.reason, 'rewritten');
});

test('verifyLedger: a head of somebody else, or of another ledger, is none', async (context) => {
  const { parties, file, pieces, verify, with: put } = await write(context);
  const other = await makeParties(context);
  const { head } = openAt(file);
  const headBy = (signer: ReturnType<Parties['signerOf']>, changes: object = {}) => ({
    octets: encodeRecord('head', signHead({ ...head, ...changes }, signer, timeMs)),
  });
  for (const stranger of [
    headBy(parties.signerOf(vendor)),
    headBy(other.signerOf(owner)), // the same name, below another root
    headBy(parties.signerOf(owner), { origin: `plombe/ledger/${owner}/${'0'.repeat(32)}` }),
    { octets: encodeRecord('head', Buffer.from('no head')) },
  ]) {
    assert.equal(put([...pieces, stranger])?.reason, 'foreign_head');
  }
  assert.equal(put([...pieces, headBy(parties.signerOf(owner))]), undefined);
  assert.equal(verify().signedHead?.size, 10);
});

test('verifyLedger: a signer is trusted for as long as its path is valid, however many heads it signed', async (context) => {
  const { parties, pieces, with: put, file } = await write(context);
  const { head } = openAt(file);
  const signer = parties.signerOf(owner);
  const headAt = (atMs: number) => ({ octets: encodeRecord('head', signHead(head, signer, atMs)) });
  const { notAfterMs } = signer.certificate;
  assert.equal(put([...pieces, headAt(timeMs), headAt(notAfterMs)]), undefined);
  assert.equal(put([...pieces, headAt(timeMs), headAt(notAfterMs + 1000)])?.reason, 'foreign_head');
  assert.equal(put([...pieces, headAt(timeMs), headAt(0)])?.reason, 'foreign_head');
});

test('verifyLedger: names gaps and forks of each device', async (context) => {
  const { file } = await write(context);
  const ledger = openAt(file);
  const other = 'ms-acc-1/acc-1/dev-2/snapshots';
  ledger.append([
    passage(12),
    passage(4, { digest: digestOf('another 4') }),
    passage(5, { outcome: 'released' }), // the same envelope again
    passage(3, { topic: other }),
    passage(6, { topic: other }),
    passage(4, { topic: other, alarm: { reason: 'cms.rejected', detail: '' } }), // anybody may have made it
    passage(4, { topic: other, digest: digestOf('genuine') }),
    passage(99, { direction: 'in' }),
  ]);
  ledger.close();
  const { gaps, forks, fault } = verifyLedger(file);
  assert.equal(fault, undefined);
  assert.deepEqual(gaps, [
    { stream: device, from: 10, to: 11 },
    { stream: 'ms-acc-1/acc-1/dev-2', from: 5, to: 5 },
  ]);
  assert.deepEqual(forks, [{ stream: device, sequence: 4, leaves: [4, 11] }]);
});

test('openLedger: cut off at whichever octet, all that was acknowledged is there, and it goes on', async (context) => {
  const parties = await makeParties(context);
  const file = path.join(parties.folder, 'egress.ledger');
  const ledger = openAt(file);
  const acknowledged: number[] = [];
  for (const sequence of [1, 2, 3]) {
    ledger.append([passage(sequence)]);
    acknowledged.push(ledger.checkpoint.position);
  }
  ledger.close();
  const whole = readFileSync(file);
  for (let end = (acknowledged[1] ?? 0) - 20; end <= whole.length; end++) {
    writeFileSync(file, whole.subarray(0, end));
    const { ledger: again, unseen } = openLedger(file, { owner, timeMs });
    const expected = acknowledged.filter((position) => position <= end).length;
    assert.equal(again.head.size, 1 + expected, `cut at octet ${end}`);
    assert.equal(unseen.length, 1 + expected);
    again.append([passage(4)]);
    again.close();
    assert.equal(verifyLedger(file).fault, undefined);
    assert.equal(verifyLedger(file).leaves, 2 + expected);
  }
});

test('openLedger: a torn tail is kept beside; a record in the middle that decayed is not cut off', async (context) => {
  const { file, pieces } = await write(context);
  const end = readFileSync(file).length;
  appendFileSync(file, Buffer.alloc(100));
  openAt(file).close();
  assert.equal(readFileSync(file).length, end);
  assert.deepEqual(readFileSync(`${file}.torn-${end}`), Buffer.alloc(100));
  const decayed = readFileSync(file);
  const at = fileHeader.length + (pieces[0]?.octets.length ?? 0) + 30;
  decayed[at] = (decayed[at] ?? 0) ^ 1;
  writeFileSync(file, decayed);
  assert.throws(() => openAt(file), { code: 'ledger.damaged' });
  assert.deepEqual(readFileSync(file), decayed);
});

test('openLedger: goes on from a checkpoint, and misses what was acknowledged', async (context) => {
  const { file } = await write(context);
  const { ledger } = openLedger(file, { owner, timeMs });
  const { checkpoint } = ledger;
  ledger.append([passage(10)]);
  const { head } = ledger;
  ledger.close();
  const again = openLedger(file, { owner, timeMs, checkpoint });
  assert.deepEqual(again.ledger.head, head);
  assert.deepEqual(
    again.unseen.map(({ leaf }) => leaf.number),
    [10],
  );
  again.ledger.close();
  truncateSync(file, checkpoint.position - 1);
  assert.throws(() => openLedger(file, { owner, timeMs, checkpoint }), { code: 'ledger.damaged' });
});

test('openLedger: another ledger in the place of the one that was followed, or a leaf that was rewritten, is left alone', async (context) => {
  const { file, parties, pieces } = await write(context);
  const { ledger } = openLedger(file, { owner, timeMs });
  const { checkpoint } = ledger;
  ledger.close();
  const other = path.join(parties.folder, 'other.ledger');
  const longer = openAt(other);
  longer.append(Array.from({ length: 40 }, (_, index) => passage(index + 1, { bytes: 70_000 })));
  longer.close();
  const rewritten = path.join(parties.folder, 'rewritten.ledger');
  writePieces(rewritten, [...pieces.slice(0, -1), forged(9, { bytes: 1001 })]);
  for (const [wrong, reason] of [
    [other, /this is plombe.* is of plombe/],
    [rewritten, /is not the one that was acknowledged/],
  ] as const) {
    const before = readFileSync(wrong);
    assert.throws(() => openLedger(wrong, { owner, timeMs, checkpoint }), reason);
    assert.deepEqual(readFileSync(wrong), before);
  }
});

test('Ledger: two that write to one file do not', async (context) => {
  const { file } = await write(context);
  const [one, other] = [openAt(file), openAt(file)];
  one.append([passage(10)]);
  assert.throws(() => other.append([passage(10)]), { code: 'ledger.in_use' });
  assert.equal(verifyLedger(file).fault, undefined);
});

test('openLedger: what is no ledger is left alone', async (context) => {
  const { folder } = await makeParties(context);
  const file = path.join(folder, 'notes.txt');
  writeFileSync(file, 'something that somebody wrote');
  assert.throws(() => openAt(file), { code: 'ledger.malformed' });
  assert.throws(() => verifyLedger(file), { code: 'ledger.malformed' });
  assert.equal(readFileSync(file, 'utf8'), 'something that somebody wrote');
  assert.ok(!existsSync(`${file}.new`));
});

test('proveInclusion, proveConsistency: checked with the proof alone, and with nothing changed in it', async (context) => {
  const { file, parties } = await write(context);
  openAt(file).close();
  for (let number = 0; number < 9; number++) {
    const proof = JSON.parse(JSON.stringify(proveInclusion(file, number))) as ReturnType<
      typeof proveInclusion
    >;
    const checked = checkProof(proof);
    assert.ok(checked.kind === 'inclusion');
    assert.deepEqual([checked.leaf.number, checked.head.size], [number, 9]);
    const moved = { ...proof, leaf: Buffer.from(encodeLeaf(number, passage(77))).toString('base64') };
    assert.throws(() => checkProof(moved), { code: 'ledger.damaged' });
  }
  assert.throws(() => proveInclusion(file, 9), { code: 'ledger.malformed' }); // not signed for yet
  for (let size = 0; size <= 9; size++) {
    const proof = proveConsistency(file, size);
    assert.ok(proof.kind === 'consistency');
    assert.equal(checkProof(proof).kind, 'consistency');
    const earlier = { ...proof.earlier, root: digestOf('another').toString('base64') };
    if (size > 0) assert.throws(() => checkProof({ ...proof, earlier }), { code: 'ledger.damaged' });
  }
  const by = parties.signerOf(owner);
  const otherHead = signHead(
    { origin: 'plombe/ledger/x/' + '0'.repeat(32), size: 9, root: digestOf('x') },
    by,
    timeMs,
  );
  const proof = { ...proveInclusion(file, 3), head: otherHead.toString('base64') };
  assert.throws(() => checkProof(proof), { code: 'ledger.damaged' });
  assert.throws(() => checkProof({ kind: 'inclusion' }), { code: 'ledger.malformed' });
});

test('signHead: OpenSSL verifies it and prints what was signed', async (context) => {
  const { parties, held, pieces, file } = await write(context);
  const headFile = path.join(parties.folder, 'head.p7');
  const rootFile = path.join(parties.folder, 'root.pem');
  writeFileSync(rootFile, certificatesToPem(parties.roots));
  const first = pieces.find(({ kind }) => kind === 'head')?.payload ?? assert.fail('no head');
  const { origin } = openAt(file);
  for (const [head, signers] of [
    [first, 1],
    [held, 2],
  ] as const) {
    writeFileSync(headFile, head);
    const args = [
      'cms',
      '-verify',
      '-binary',
      '-inform',
      'DER',
      '-in',
      headFile,
      '-CAfile',
      rootFile,
      '-purpose',
      'any',
    ];
    const { status, stdout, stderr } = spawnSync('openssl', args);
    assert.equal(status, 0, String(stderr));
    assert.deepEqual(stdout, headBody({ ...readHead(head), origin }));
    assert.equal(readHead(head).signatures.length, signers);
  }
});
