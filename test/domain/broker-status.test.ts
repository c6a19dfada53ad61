import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import {
  brokerStatusTopic,
  encodeBrokerStatus,
  parseBrokerStatus,
  parseBrokerStatusTopic,
} from '../../domain/broker-status.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';

const online = {
  state: 'online',
  name: 'hall 3',
  version: '0.1.0',
  connectedSinceMs: 1,
  queued: 2,
  queuedBytes: 3,
  oldestWaitingMs: 4,
  forwardedUp: 5,
  forwardedDown: 6,
  refused: 7,
} as const;

test('parseBrokerStatus: reads what encodeBrokerStatus wrote, and drops what it does not know', () => {
  for (const status of [online, { state: 'offline', name: 'hall 3' }] as const) {
    assert.deepEqual(parseBrokerStatus(Buffer.from(encodeBrokerStatus(status))), status);
  }
  assert.deepEqual(parseBrokerStatus(Buffer.from(JSON.stringify({ ...online, more: 1 }))), online);
});

test('parseBrokerStatus: anything else is no status', () => {
  for (const wrong of [
    { ...online, state: 'away' },
    { ...online, queued: -1 },
    { ...online, queued: 1.5 },
    { ...online, refused: '7' },
    { ...online, name: 'x'.repeat(65) },
    { state: 'offline' },
    null,
    [],
  ]) {
    assert.equal(parseBrokerStatus(Buffer.from(JSON.stringify(wrong))), undefined);
  }
  assert.equal(parseBrokerStatus(Buffer.from([0xff])), undefined);
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseBrokerStatus(bytes)));
});

test('parseBrokerStatusTopic: of a master account or an account, and nothing else', () => {
  for (const path of ['ms-acc-1', 'ms-acc-1/acc-1']) {
    const parsed = parseNamespacePath(path);
    assert(parsed);
    assert.equal(parseBrokerStatusTopic(brokerStatusTopic(parsed)), path);
  }
  for (const topic of [
    'broker/status',
    'ms-acc-1/acc-1/dev-1/broker/status',
    'ms-acc-1/status',
    'ms-acc-1/broker',
  ]) {
    assert.equal(parseBrokerStatusTopic(topic), undefined);
  }
});
