import assert from 'node:assert/strict';
import test from 'node:test';
import { Failover } from '../../mqtt/failover.ts';

const limits = { reconnect: { firstMs: 100, maxMs: 10_000 }, probe: { firstMs: 1000, maxMs: 60_000 } };
/** Without jitter: the whole ceiling. */
const random = (): number => 1;

test('Failover: every broker is tried once before the wait grows', () => {
  const failover = new Failover({ brokers: 3, ...limits, random });
  const tried: number[] = [];
  const waits: number[] = [];
  for (let attempt = 0; attempt < 7; attempt++) {
    tried.push(failover.next);
    waits.push(failover.failed());
  }
  assert.deepEqual(tried, [0, 1, 2, 0, 1, 2, 0]);
  assert.deepEqual(waits, [100, 100, 100, 100, 100, 200, 100]);
});

test('Failover: a broker that closes each connection at once is asked less and less often', () => {
  const failover = new Failover({ brokers: 1, ...limits, random });
  const waits = Array.from({ length: 4 }, (_, index) => {
    failover.connected(index);
    return failover.lost(index + 1);
  });
  assert.deepEqual(waits, [100, 200, 400, 800]);
  failover.connected(0);
  assert.equal(failover.lost(10_000), 100);
});

test('Failover: it goes back after two probes in a row that reached the same better broker', () => {
  const failover = new Failover({ brokers: 2, ...limits, random });
  failover.failed();
  failover.connected(0);
  assert.deepEqual(failover.better, [0]);
  assert.equal(failover.probed(0), false);
  assert.equal(failover.probed(undefined), false);
  assert.equal(failover.probed(0), false);
  assert.equal(failover.probed(0), true);
  failover.return();
  assert.equal(failover.next, 0);
});

test('Failover: a preferred broker that does not stay is probed less and less often, until it stays', () => {
  const failover = new Failover({ brokers: 2, ...limits, random });
  const goBackAndLose = (lastedMs: number): void => {
    failover.return();
    failover.connected(0);
    failover.lost(lastedMs);
    failover.failed();
    failover.connected(0);
  };
  assert.equal(failover.probeDelayMs(), 1000);
  goBackAndLose(10);
  assert.equal(failover.probeDelayMs(), 2000);
  goBackAndLose(10);
  assert.equal(failover.probeDelayMs(), 4000);
  goBackAndLose(60_000);
  assert.equal(failover.probeDelayMs(), 1000);
});
