import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode } from 'cborg';
import * as fc from 'fast-check';
import {
  decodeEnrolmentApproval,
  decodeEnrolmentConfirmation,
  decodeEnrolmentReply,
  decodeEnrolmentRequest,
  decodeTransferDocument,
  encodeEnrolmentApproval,
  encodeEnrolmentConfirmation,
  encodeEnrolmentReply,
  encodeEnrolmentRequest,
  encodeTransferDocument,
  EnrolmentMessageError,
  enrolmentKinds,
} from '../../domain/enrolment.ts';

const time = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const path = fc.constantFrom('ms-acc-1/acc-1/dev-1', 'a/b/c', 'a/b/d');
const detail = fc.string({ maxLength: 1000 });
const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 });
const chain = fc.array(bytes, { minLength: 1, maxLength: 4 });
const broker = fc.record({
  host: fc.string({ maxLength: 20 }),
  port: fc.integer({ min: 1, max: 65_535 }),
  name: path,
});
const uuid = fc.uuid();

const request = fc
  .record({
    id: uuid,
    kind: fc.constantFrom(...enrolmentKinds),
    path: fc.oneof(path, fc.constant('vendor-factory-1')),
    requests: fc.record({ tls: bytes, sig: bytes, enc: bytes }),
    requestedAtMs: time,
    agentVersion: fc.string({ maxLength: 64 }),
    of: uuid,
  })
  .map(({ of, ...rest }) => (rest.kind === 'transfer' ? { ...rest, transfer: of } : rest));
const replyBase = { id: uuid, requestDigest: digest, detail, repliedAtMs: time };
const reply = fc.oneof(
  fc.record({ ...replyBase, outcome: fc.constant('refused' as const) }),
  fc.record({ ...replyBase, outcome: fc.constant('waiting' as const), request: bytes }),
  fc.record(
    {
      ...replyBase,
      outcome: fc.constant('issued' as const),
      chains: fc.record({ tls: chain, sig: chain, enc: chain }),
      broker,
    },
    { requiredKeys: ['id', 'requestDigest', 'detail', 'repliedAtMs', 'outcome', 'chains'] },
  ),
);
const approval = fc.record(
  {
    id: uuid,
    requestDigest: digest,
    decision: fc.constantFrom('approve' as const, 'refuse' as const),
    detail,
    decidedAtMs: time,
    path,
  },
  { requiredKeys: ['id', 'requestDigest', 'decision', 'detail', 'decidedAtMs'] },
);
const transfer = fc.record(
  {
    id: uuid,
    from: fc.constant('a/b/c'),
    to: fc.constant('d/e/f'),
    deviceCertificate: digest,
    broker,
    notBeforeMs: time,
    expiresAtMs: time,
  },
  { requiredKeys: ['id', 'from', 'to', 'deviceCertificate', 'notBeforeMs', 'expiresAtMs'] },
);

const confirmation = fc.record({ id: uuid, confirmedAtMs: time });

/** How each message is written and read, and examples of it. */
const forms: Readonly<
  Record<string, { written: fc.Arbitrary<Uint8Array>; read: (content: Uint8Array) => object }>
> = {
  request: { written: request.map(encodeEnrolmentRequest), read: decodeEnrolmentRequest },
  reply: { written: reply.map(encodeEnrolmentReply), read: decodeEnrolmentReply },
  approval: { written: approval.map(encodeEnrolmentApproval), read: decodeEnrolmentApproval },
  transfer: { written: transfer.map(encodeTransferDocument), read: decodeTransferDocument },
  confirmation: { written: confirmation.map(encodeEnrolmentConfirmation), read: decodeEnrolmentConfirmation },
};

/** Without the null prototypes that fast-check gives. */
function isReadBack<Message>(
  messages: fc.Arbitrary<Message>,
  write: (message: Message) => Uint8Array,
  read: (content: Uint8Array) => Message,
): void {
  fc.assert(fc.property(messages, (one) => assert.deepEqual(read(write(one)), structuredClone(one))));
}

test('enrolment messages: each is read back whole', () => {
  isReadBack(request, encodeEnrolmentRequest, decodeEnrolmentRequest);
  isReadBack(reply, encodeEnrolmentReply, decodeEnrolmentReply);
  isReadBack(approval, encodeEnrolmentApproval, decodeEnrolmentApproval);
  isReadBack(transfer, encodeTransferDocument, decodeTransferDocument);
  isReadBack(confirmation, encodeEnrolmentConfirmation, decodeEnrolmentConfirmation);
});

for (const [name, { written, read }] of Object.entries(forms)) {
  test(`enrolment ${name}: none of the other messages is taken for one`, () => {
    for (const [other, { written: message }] of Object.entries(forms)) {
      if (other === name) continue;
      fc.assert(
        fc.property(message, (content) => assert.throws(() => read(content), EnrolmentMessageError)),
        { numRuns: 20 },
      );
    }
  });

  test(`enrolment ${name}: any flipped bit and any truncation reads as itself or is malformed`, () => {
    fc.assert(
      fc.property(written, fc.nat(), fc.nat(7), (content, at, bit) => {
        const index = at % content.length;
        const flipped = Uint8Array.from(content);
        flipped[index] = (flipped[index] ?? 0) ^ (1 << bit);
        for (const bad of [flipped, content.subarray(0, index)]) {
          try {
            read(bad);
          } catch (error) {
            assert(error instanceof EnrolmentMessageError, String(error));
          }
        }
        assert.throws(() => read(content.subarray(0, index)), EnrolmentMessageError);
      }),
    );
  });

  test(`enrolment ${name}: whatever else there is, is malformed`, () => {
    fc.assert(
      fc.property(fc.anything({ maxDepth: 2 }), (value) => {
        let content: Uint8Array;
        try {
          content = encode(value);
        } catch {
          return; // nothing that CBOR has
        }
        assert.throws(() => read(content), EnrolmentMessageError);
      }),
    );
  });
}

test('encodeEnrolmentReply: a detail that is too long is cut', () => {
  const [one] = fc.sample(reply, 1);
  assert(one);
  const long = encodeEnrolmentReply({ ...one, detail: 'x'.repeat(2000) });
  assert.equal(decodeEnrolmentReply(long).detail.length, 1000);
});

test('decode…: bounds, and fields that do not belong together', () => {
  const [one] = fc.sample(request, 1);
  assert(one);
  const good = { type: 'request', ...one, kind: 'enrol' } as Record<string, unknown>;
  delete good['transfer'];
  decodeEnrolmentRequest(encode(good));
  for (const change of [
    { kind: 'transfer' },
    { transfer: one.id },
    { kind: 'sell' },
    { path: 'ms-acc-1' },
    { path: 'vendor-crl-service' },
    { id: '1' },
    { requestedAtMs: 1.5 },
    { agentVersion: 'x'.repeat(65) },
    { requests: { ...one.requests, tls: new Uint8Array(8 * 1024 + 1) } },
    { requests: { ...one.requests, tls: new Uint8Array() } },
    { requests: { ...one.requests, kem: new Uint8Array(1) } },
    { requests: { tls: one.requests.tls } },
    { requests: [] },
  ]) {
    assert.throws(
      () => decodeEnrolmentRequest(encode({ ...good, ...change })),
      EnrolmentMessageError,
      JSON.stringify(change),
    );
  }
  const [issued] = fc.sample(reply, 50).filter(({ outcome }) => outcome === 'issued');
  const answer = { type: 'reply', ...issued };
  for (const change of [
    { outcome: 'waiting' },
    { outcome: 'lost' },
    { request: new Uint8Array(1) },
    { requestDigest: new Uint8Array(31) },
    { chains: { tls: [], sig: [], enc: [] } },
    { broker: { host: 'a', port: 0, name: 'b' } },
    { broker: { host: 'a', port: 1 } },
  ]) {
    assert.throws(
      () => decodeEnrolmentReply(encode({ ...answer, ...change })),
      EnrolmentMessageError,
      JSON.stringify(change),
    );
  }
  const [moved] = fc.sample(transfer, 1);
  assert.throws(
    () => decodeTransferDocument(encode({ type: 'transfer', ...moved, to: 'a/b/c' })),
    EnrolmentMessageError,
  );
});
