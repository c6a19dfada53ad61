import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeDeviceStatus, parseDeviceStatus } from '../../domain/device-status.ts';
import type { DeviceStatus } from '../../domain/device-status.ts';

const bytes = (text: string): Buffer => Buffer.from(text);

test('parseDeviceStatus: reads what encodeDeviceStatus wrote, with policies and without', () => {
  const statuses: readonly DeviceStatus[] = [
    { state: 'offline', agentVersion: '1.0.0' },
    { state: 'online', agentVersion: '1.0.0', policy: { numbers: {} } },
    { state: 'online', agentVersion: '1.0.0', sentUpTo: 0 },
    { state: 'offline', agentVersion: '1.0.0', sentUpTo: 1_000_000, policy: { numbers: {} } },
    {
      state: 'online',
      agentVersion: '1.0.0',
      policy: {
        numbers: { 'ms-acc-1': 3, 'ms-acc-1/acc-1': 1 },
        since: { vendor: 1, insurer: 17 },
        refused: { reason: 'policy.rollback', atMs: 1 },
      },
    },
  ];
  for (const status of statuses)
    assert.deepEqual(parseDeviceStatus(bytes(encodeDeviceStatus(status))), status);
});

test('parseDeviceStatus: is undefined for everything else', () => {
  const status = (policy: unknown): string => JSON.stringify({ state: 'online', agentVersion: '1', policy });
  for (const text of [
    '',
    'null',
    '[]',
    '{"state":"away","agentVersion":"1"}',
    '{"state":"online"}',
    `{"state":"online","agentVersion":"${'1'.repeat(41)}"}`,
    ...['-1', '1.5', '"7"', 'null', '9007199254740992'].map(
      (sentUpTo) => `{"state":"online","agentVersion":"1","sentUpTo":${sentUpTo}}`,
    ),
    status(null),
    status({ numbers: { 'ms-acc-1': 0 } }),
    status({ numbers: { a: 1, b: 1, c: 1, d: 1 } }),
    status({ numbers: {}, refused: { reason: 7, atMs: 1 } }),
    status({ numbers: {}, since: { vendor: 0 } }),
    status({ numbers: {}, since: Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`g${n}`, 1])) }),
  ]) {
    assert.equal(parseDeviceStatus(bytes(text)), undefined, text);
  }
});
