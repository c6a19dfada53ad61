import assert from 'node:assert/strict';
import test from 'node:test';
import { mosquittoDialect } from '../../conformance/mosquitto-dialect.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const connectFive = bytes('10 0f 0004 4d515454 05 02 000a 00 0000');
const connectFour = bytes('10 0c 0004 4d515454 04 02 000a 0000');

function translated(answer: string, connect = connectFive): string {
  const dialect = mosquittoDialect();
  dialect.fromClient(connect);
  return dialect.fromBroker(bytes(answer)).toString('hex');
}

test('mosquittoDialect: MQTT 3.1.1 passes as it is', () => {
  assert.equal(translated('20 02 00 00', connectFour), '20020000');
});

test('mosquittoDialect: CONNACK properties in order, without availability that goes without saying', () => {
  // receive maximum 20, maximum packet size 2,000,000, topic alias maximum 10, retain and wildcards available
  const ours = '20 12 00 00 0f 21 0014 27 001e8480 22 000a 25 01 28 01';
  assert.equal(translated(ours), bytes('20 0e 00 00 0b 22 000a 27 001e8480 21 0014').toString('hex'));
});

test('mosquittoDialect: what is not available is said', () => {
  assert.equal(translated('20 05 00 00 02 2a 00'), '20050000022a00');
});

test('mosquittoDialect: a reason in words goes, its code stays', () => {
  assert.equal(translated('e0 06 82 04 1f 0001 61'), 'e00182');
  assert.equal(translated('40 08 0001 87 04 1f 0001 61'), '4003000187');
  assert.equal(translated('20 07 00 85 04 1f 0001 61'), '2003008500');
});

test('mosquittoDialect: codes that may be left out are, and only on their packets', () => {
  assert.equal(translated('50 03 0001 10'), '50020001');
  assert.equal(translated('40 03 0001 10'), '4003000110');
  assert.equal(translated('70 03 0001 92'), '70020001');
  assert.equal(translated('50 03 0001 92'), '5003000192');
});

test('mosquittoDialect: packets that come byte by byte come out whole, and others unchanged', () => {
  const dialect = mosquittoDialect();
  dialect.fromClient(connectFive);
  const publish = bytes('30 06 0001 61 00 6869');
  const stream = Buffer.concat([bytes('20 03 00 00 00'), publish, bytes('d0 00')]);
  const out = Buffer.concat([...stream].map((byte) => dialect.fromBroker(Buffer.from([byte]))));
  assert.deepEqual(out, stream);
});
