import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { limitsType } from '../../../broker/limits.ts';
import { Handshakes } from '../../../broker/quota/handshakes.ts';
import { HandshakeGate, networkOf } from '../../../broker/quota/handshake-gate.ts';
import { PublishRates } from '../../../broker/quota/publish-rates.ts';
import { Recent } from '../../../broker/quota/recent.ts';
import { holderOf, holderOfTopic, Holdings } from '../../../broker/quota/shares.ts';
import { burstSeconds, TokenBucket } from '../../../broker/quota/token-bucket.ts';

const device = 'ms-acc-1/acc-1/dev-1';

test('TokenBucket: a burst, then the rate, and what is owed says how long to wait', () => {
  const bucket = new TokenBucket(100, 0);
  assert.equal(bucket.spend(100 * burstSeconds, 100, 0), 0);
  assert.equal(bucket.spend(50, 100, 0), 500);
  assert.equal(bucket.spend(0, 100, 400), 100);
  assert.equal(bucket.spend(0, 100, 500), 0);
  assert.equal(bucket.spend(100 * burstSeconds, 100, 3_600_000), 0, 'silence is worth one burst');
  assert.equal(bucket.spend(1, 100, 3_600_000), 10);
});

test('TokenBucket: never lets through more than the burst and the rate, however it is asked', () => {
  const steps = fc.array(fc.record({ afterMs: fc.nat(5000), asked: fc.nat(40) }), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), steps, (perSecond, all) => {
      const bucket = new TokenBucket(perSecond, 0);
      let [nowMs, taken] = [0, 0];
      for (const { afterMs, asked } of all) {
        nowMs += afterMs;
        for (let index = 0; index < asked; index++) if (bucket.take(perSecond, nowMs)) taken++;
        assert(taken <= perSecond * burstSeconds + (nowMs / 1000) * perSecond + 1e-6);
      }
    }),
  );
});

test('holderOf: an identity, its account and its master account; a service is alone', () => {
  assert.deepEqual(holderOf(device), {
    identity: device,
    account: 'ms-acc-1/acc-1',
    masterAccount: 'ms-acc-1',
  });
  assert.deepEqual(holderOf('ms-acc-1'), {
    identity: 'ms-acc-1',
    account: undefined,
    masterAccount: 'ms-acc-1',
  });
  const service = { account: undefined, masterAccount: undefined };
  assert.deepEqual(holderOf('vendor-crl-service'), { identity: 'vendor-crl-service', ...service });
  assert.equal(holderOfTopic(`${device}/status/x`)?.identity, device);
  assert.equal(holderOfTopic('ms-acc-1/status')?.masterAccount, 'ms-acc-1');
  assert.equal(holderOfTopic('vendor/crl/tls'), undefined);
  // Levels that are no names are the owner's above them all the same, or he could fill them without a bound.
  const owned = { identity: undefined, account: 'ms-acc-1/acc-1', masterAccount: 'ms-acc-1' };
  for (const name of ['caf\u00e9', '', 'x'.repeat(21)])
    assert.deepEqual(holderOfTopic(`ms-acc-1/acc-1/${name}/x`), owned);
  assert.deepEqual(holderOfTopic('ms-acc-1/$released/acc-1/dev-1/snapshots'), {
    ...owned,
    account: undefined,
  });
});

test('Holdings: counts each share for itself, says whose bound is exceeded, and forgets what is given back', () => {
  const holdings = new Holdings();
  const bounds = { identity: 2, account: 3, masterAccount: 4 };
  const names = [device, device, 'ms-acc-1/acc-1/dev-2', 'ms-acc-1/acc-2/dev-1', 'ms-acc-2/acc-1/dev-1'];
  for (const name of names) {
    assert.equal(holdings.exceededBy(1, holderOf(name), bounds), undefined, name);
    holdings.add(holderOf(name), 1);
  }
  assert.equal(holdings.exceededBy(1, holderOf(device), bounds), 'identity');
  assert.equal(holdings.exceededBy(1, holderOf('ms-acc-1/acc-1/dev-3'), bounds), 'account');
  assert.equal(holdings.exceededBy(1, holderOf('ms-acc-1/acc-3'), bounds), 'masterAccount');
  assert.equal(holdings.exceededBy(1, holderOf('ms-acc-10/acc-1'), bounds), undefined);
  for (const name of names) holdings.add(holderOf(name), -1);
  assert.equal(holdings.size, 0);
});

test('Recent: a million names, and no more is remembered than the bound; what is used again stays', () => {
  const recent = new Recent<number>(100);
  for (let index = 0; index < 1_000_000; index++) {
    recent.get(`name-${index}`, () => index);
    assert(recent.size <= 100);
    recent.get('steady', () => (index === 0 ? 0 : assert.fail('it was used a moment ago')));
  }
  for (let index = 999_952; index < 1_000_000; index++) {
    recent.get(`name-${index}`, () => assert.fail('it is one of the last'));
  }
});

test('networkOf: an IPv4 address, also in the form of IPv6; of IPv6 the /64', () => {
  const networks = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::1', '2001:db8:1:2'],
    ['2001:0DB8:0001:0002::', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
  ] as const;
  for (const [address, network] of networks) assert.equal(networkOf(address), network, address);
});

test('HandshakeGate: an address, then all; who knocks too often takes nothing from the others; a million addresses', () => {
  let nowMs = 0;
  const limits = { handshakesPerSecondMax: 3, handshakesPerAddressPerSecondMax: 1 };
  const gate = new HandshakeGate(limits, () => nowMs);
  const count = (address: string, times: number): Record<string, number> => {
    const outcomes: Record<string, number> = {};
    for (let index = 0; index < times; index++) {
      const outcome = gate.refusal(address) ?? 'taken';
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
    return outcomes;
  };
  assert.deepEqual(count('2001:db8::1', 1000), { taken: 10, handshakes_per_address_max: 990 });
  assert.deepEqual(count('2001:db8::2', 1), { handshakes_per_address_max: 1 });
  assert.deepEqual(count('192.0.2.1', 10), { taken: 10 });
  assert.deepEqual(count('192.0.2.2', 11), { taken: 10, handshakes_per_address_max: 1 });
  assert.deepEqual(count('192.0.2.3', 1), { handshakes_max: 1 });
  nowMs += 1000;
  assert.deepEqual(count('192.0.2.1', 2), { taken: 1, handshakes_per_address_max: 1 });
  for (let index = 0; index < 1_000_000; index++)
    gate.refusal(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
  assert(gate.size <= 20_000);
});

test('Handshakes: those of many addresses together are bounded, too', () => {
  const limits = limitsType.parse({ handshakingMax: 3 });
  const handshakes = new Handshakes(limits, () => 0);
  const sockets = ['192.0.2.1', '192.0.2.1', '192.0.2.2'].map((address, index) =>
    Object.defineProperties(new Socket(), {
      remoteAddress: { value: address },
      remotePort: { value: index },
    }),
  );
  for (const socket of sockets) {
    assert.equal(handshakes.refusal(socket.remoteAddress ?? ''), undefined);
    handshakes.begin(socket);
  }
  assert.equal(handshakes.refusal('192.0.2.1'), 'handshaking_per_address_max');
  assert.equal(handshakes.refusal('192.0.2.3'), 'handshaking_max');
  for (const socket of sockets) handshakes.end(socket);
  assert.equal(handshakes.size, 0);
  assert.equal(handshakes.refusal('192.0.2.1'), undefined);
});

test('PublishRates: connections of one identity spend together, and so do the devices of an account', () => {
  let nowMs = 0;
  const perSecond = (messagesPerSecondMax: number, bytesPerSecondMax: number) => ({
    messagesPerSecondMax,
    bytesPerSecondMax,
  });
  const limits = limitsType.parse({
    perIdentity: perSecond(10, 1000),
    perAccount: perSecond(15, 1_000_000),
    perMasterAccount: perSecond(1000, 1_000_000),
  });
  const rates = new PublishRates(limits, () => nowMs);
  const [first, second] = [rates.of(device), rates.of(device)];
  assert.equal(first.spend(100, 100), 0);
  assert.equal(second.spend(1, 100), 100, 'of the same identity');
  const sibling = rates.of('ms-acc-1/acc-1/dev-2');
  assert.equal(sibling.spend(50, 0), 67, 'of the same account: 151 messages of 150');
  assert.equal(rates.of('ms-acc-1/acc-2/dev-1').spend(50, 0), 0);
  nowMs += 10_000;
  assert.equal(first.spend(0, 10_100), 100, 'bytes count too');
});
