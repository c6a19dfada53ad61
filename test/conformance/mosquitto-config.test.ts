import assert from 'node:assert/strict';
import test from 'node:test';
import { readOptions, translateConfig } from '../../conformance/mosquitto-config.ts';

test('translateConfig: ports, limits and where the state rests', () => {
  const text =
    '# a comment\r\nlistener 1888 127.0.0.1\r\n\r\nmax_inflight_messages 1\npersistence true\npersistence_file a.db\n';
  const { ports, limits, persistence, untranslatable } = translateConfig(readOptions(text), 3);
  assert.deepEqual(ports, [1888]);
  assert.equal(limits['inFlightMax'], 1);
  assert.equal(persistence, 'a.db');
  assert.deepEqual(untranslatable, []);
});

test('translateConfig: what has no counterpart is named, once', () => {
  const options = [
    ['listener', '0 /tmp/socket'],
    ['plugin', 'a.so'],
    ['plugin', 'b.so'],
    ['allow_anonymous', 'false'],
  ] as const;
  const { untranslatable } = translateConfig(options, 3);
  assert.deepEqual(untranslatable.toSorted(), ['allow_anonymous', 'listener 0', 'plugin']);
});

test('translateConfig: a bound on the keep-alive is told to MQTT 5 clients alone', () => {
  assert.equal(translateConfig([['max_keepalive', '60']], 5).limits['keepAliveSecondsMax'], 60);
  assert.deepEqual(translateConfig([['max_keepalive', '60']], 3).untranslatable, ['max_keepalive']);
});
