import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { defaultRoles, rolesWith } from '../../../broker/access/roles.ts';
import type { Role } from '../../../broker/access/roles.ts';
import type { Action } from '../../../broker/access/tacs.ts';
import { areCovered, decide, isAllowed } from '../../../broker/access/tacs.ts';

// The first fifteen rows are DESIGN §4's reference table.
const subscribeTable = `
ms-acc-1                ms-acc-1/#                         yes
ms-acc-1                ms-acc-1/acc-1/dev-1/snapshots     yes
ms-acc-1                #                                  no
ms-acc-1/acc-1          ms-acc-1/#                         no
ms-acc-1/acc-1          ms-acc-1/acc-1                     yes
ms-acc-1/acc-1          ms-acc-1/acc-1/#                   yes
ms-acc-1/acc-1          ms-acc-1/acc-1/dev-1/snapshots     yes
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-1/#             yes
ms-acc-1/acc-1/dev-1    ms-acc-2/acc-1/dev-1/#             no
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-2/snapshots     no
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/#                   no
ms-acc-2                ms-acc-1/#                         no
ms-acc-2                ms-acc-2/acc-1/#                   yes
ms-acc-2/acc-1/dev-2    ms-acc-2/acc-1/dev-2/#             yes
ms-acc-2/acc-1/dev-2    ms-acc-2/acc-1/dev-1/#             no

ms-acc-1                ms-acc-10/#                        no
ms-acc-1                ms-acc-10                          no
ms-acc-1                ms-acc-1/+/+/snapshots             yes
ms-acc-1                +/acc-1/dev-1/snapshots            no
ms-acc-1                +/#                                no
ms-acc-1                ms-acc-1                           yes
ms-acc-1                /ms-acc-1                          no
ms-acc-1                MS-ACC-1/#                         no
ms-acc-1/acc-1          ms-acc-1/+/dev-1/snapshots         no
ms-acc-1/acc-1          ms-acc-1/acc-1/../acc-2/#          yes
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-10/#            no
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-1               yes
ms-acc-1/acc-1/dev-1    vendor/crl/tls                     yes
ms-acc-1/acc-1/dev-1    vendor/crl/e2e                     yes
ms-acc-1/acc-1/dev-1    vendor/crl/+                       no
ms-acc-1/acc-1/dev-1    vendor/recipients                  yes
ms-acc-1/acc-1/dev-1    vendor/firmware/r1/chunk/7         yes
ms-acc-1/acc-1/dev-1    vendor/firmware/#                  yes
ms-acc-1/acc-1/dev-1    vendor/#                           no
ms-acc-1/acc-1/dev-1    $SYS/#                             no
ms-acc-1/acc-1/dev-1    ms-acc-1/policy                    yes
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/policy              yes
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-1/policy        yes
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-2/policy        no
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-2/policy              no
ms-acc-1/acc-1/dev-1    ms-acc-10/policy                   no
ms-acc-1/acc-1/dev-1    ms-acc-1/+/policy                  no
ms-acc-1/acc-1/dev-1    ms-acc-1/policy/#                  no
ms-acc-1/acc-1          ms-acc-1/policy                    yes
ms-acc-1/acc-1          ms-acc-1/+/policy                  no
ms-acc-1                ms-acc-2/policy                    no
ms-acc-1/acc-1/dev-1    $share/g/ms-acc-1/acc-1/dev-1/#    no
MRO-Admin               #                                  yes
MRO-Admin               $SYS/#                             yes
MRO-Admin               $SYS/broker/version                yes
MRO-Admin               +/broker/version                   yes
MRO-Admin               $share/g/#                         no
mro-admin               #                                  no
vendor-snapshot-service +/+/+/snapshots                    yes
vendor-snapshot-service ms-acc-1/+/+/snapshots             yes
vendor-snapshot-service +/+/+/status                       yes
vendor-snapshot-service +/+/+/certificates                 yes
vendor-snapshot-service +/+/+/+                            no
vendor-snapshot-service +/+/+/commands                     no
vendor-snapshot-service #                                  no
vendor-snapshot-service vendor/crl/tls                     yes
vendor-snapshot-service +/ledger/head                      yes
vendor-snapshot-service +/+/ledger/head                    yes
vendor-snapshot-service +/+/ledger/countersigned           no
vendor-command-service  +/+/+/commands/result              yes
vendor-command-service  +/+/+/snapshots                    no
vendor-firmware-service +/+/+/firmware/progress            yes
vendor-firmware-service +/+/+/firmware/#                   no
vendor-crl-service      vendor/crl/tls                     yes
vendor-broker           #                                  no
vendor-broker           vendor-broker/#                    no
vendor-broker           vendor/recipients                  yes
vendor                  vendor/#                           no
vendor/acc-1            vendor/acc-1/#                     no
a/b/c/d                 a/b/c/d/#                          no
a//c                    a//c/#                             no
`;

const publishTable = `
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-1/snapshots     yes
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-1               yes
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-2/snapshots     no
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-1/#             no
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/policy              no
ms-acc-1/acc-1/dev-1    ms-acc-1/policy                    no
ms-acc-1/acc-1          ms-acc-1/policy                    no
ms-acc-1                ms-acc-1/acc-1/dev-1/policy        yes
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/dev-1/+             no
ms-acc-1                ms-acc-1/acc-1/dev-1/commands      yes
ms-acc-1                ms-acc-10/acc-1/dev-1/commands     no
ms-acc-1                vendor/crl/tls                     no
MRO-Admin               ms-acc-1/acc-1/dev-1/commands      yes
MRO-Admin               vendor/crl/tls                     yes
MRO-Admin               $SYS/broker/version                no
ms-acc-1                $SYS/broker/version                no
vendor-snapshot-service ms-acc-1/acc-1/dev-1/snapshots     no
vendor-snapshot-service ms-acc-1/ledger/countersigned      yes
vendor-snapshot-service ms-acc-1/acc-1/ledger/countersigned yes
vendor-snapshot-service ms-acc-1/ledger/head               no
vendor-command-service  ms-acc-1/ledger/countersigned      no
ms-acc-1                ms-acc-1/ledger/head               yes
ms-acc-1                ms-acc-1/$released/acc-1/dev-1/snapshots yes
ms-acc-1/acc-1          ms-acc-1/$released/acc-1/dev-1/snapshots no
ms-acc-1/acc-1/dev-1    ms-acc-1/$released/acc-1/dev-1/snapshots no
ms-acc-1/acc-1/dev-1    ms-acc-1/acc-1/$released/dev-1/snapshots no
vendor-command-service  ms-acc-1/acc-1/dev-1/commands      yes
vendor-command-service  ms-acc-1/acc-1/dev-1/commands/x    no
vendor-command-service  ms-acc-1/acc-1/commands            no
vendor-firmware-service ms-acc-1/acc-1/dev-1/firmware      yes
vendor-firmware-service vendor/firmware/r1/chunk/1         yes
vendor-firmware-service vendor/crl/tls                     no
vendor-crl-service      vendor/crl/tls                     yes
vendor-crl-service      vendor/crl/e2e                     yes
vendor-crl-service      vendor/crl/other                   no
vendor-recipient-service vendor/recipients                 yes
vendor-broker           vendor/recipients                  no
`;

function rows(table: string): { identity: string; topic: string; granted: boolean }[] {
  return table
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [identity = '', topic = '', answer = ''] = line.split(/\s+/);
      return { identity, topic, granted: answer === 'yes' };
    });
}

for (const [action, table] of [
  ['subscribe', subscribeTable],
  ['publish', publishTable],
] as const) {
  for (const { identity, topic, granted } of rows(table)) {
    test(`isAllowed: ${identity} ${granted ? 'may' : 'may not'} ${action} ${topic}`, () => {
      assert.equal(isAllowed(identity, action, topic, defaultRoles), granted);
    });
  }
}

test('isAllowed: malformed filters and topics are denied, whoever asks', () => {
  for (const filter of ['', 'a\0', '#/a', 'a#', 'a+/b', 'a/#/b', '\ud800', 'x'.repeat(65_536)]) {
    assert.deepEqual(decide('MRO-Admin', 'subscribe', filter, defaultRoles), {
      allowed: false,
      reason: 'malformed',
    });
  }
});

test('isAllowed: the empty identity and an identity with wildcards have no rights', () => {
  for (const identity of ['', '#', '+', '+/+', 'ms-acc-1/+', 'ms-acc-1/#', '/', 'ms-acc-1/', '..']) {
    assert.deepEqual(decide(identity, 'subscribe', 'vendor/recipients', defaultRoles), {
      allowed: false,
      reason: 'unknown_identity',
    });
  }
});

test('rolesWith: a row of the configuration replaces the whole default row and adds others', () => {
  const roles = rolesWith({
    'vendor-snapshot-service': { subscribe: ['ms-acc-1/+/+/snapshots'] },
    'vendor-broker-eu': { publish: ['ms-acc-2/#'] },
  });
  assert.equal(isAllowed('vendor-snapshot-service', 'subscribe', '+/+/+/snapshots', roles), false);
  assert.equal(isAllowed('vendor-snapshot-service', 'subscribe', 'ms-acc-1/+/+/snapshots', roles), true);
  assert.equal(isAllowed('vendor-broker-eu', 'publish', 'ms-acc-2/a/b/snapshots', roles), true);
  assert.equal(isAllowed('vendor-crl-service', 'publish', 'vendor/crl/tls', roles), true);
});

// Brute force: every topic of up to five levels over two names that filters use and one that they never do.
const names = ['a', 'b', 'fresh'];
const universe: string[][] = [];
for (let depth = 1, layer: string[][] = [[]]; depth <= 5; depth++) {
  layer = layer.flatMap((levels) =>
    [...names, ...(depth === 1 ? ['$s'] : [])].map((name) => [...levels, name]),
  );
  universe.push(...layer);
}

/** The definition of matching (MQTT 3.1.1 §4.7), written independently of the code under test. */
function matches(filter: readonly string[], topic: readonly string[]): boolean {
  const [first, ...filterRest] = filter;
  const [level, ...topicRest] = topic;
  if (first === '#') return true;
  if (first === undefined || level === undefined) return first === level;
  return (first === '+' || first === level) && matches(filterRest, topicRest);
}
const matchesTopic = (filter: string, topic: readonly string[]): boolean =>
  !(topic[0]?.startsWith('$') === true && /^[+#]/.test(filter)) && matches(filter.split('/'), topic);

const filterArbitrary = fc
  .tuple(
    fc.array(fc.constantFrom('a', 'b', '+', '$s'), { minLength: 0, maxLength: 3 }),
    fc.constantFrom([], ['#']),
  )
  .map(([levels, tail]) => [...levels, ...tail].map((level, i) => (level === '$s' && i > 0 ? 'a' : level)))
  .filter((levels) => levels.length > 0)
  .map((levels) => levels.join('/'));

test('areCovered: granted iff every topic that the filter can match is granted', () => {
  fc.assert(
    fc.property(fc.array(filterArbitrary, { maxLength: 5 }), filterArbitrary, (rights, filter) => {
      const expected = universe
        .filter((topic) => matchesTopic(filter, topic))
        .every((topic) => rights.some((right) => matchesTopic(right, topic)));
      assert.equal(areCovered(rights, filter), expected, `${rights.join(' ')} ⊇ ${filter}`);
    }),
    { numRuns: 3000 },
  );
});

test('isAllowed: a granted filter grants each topic it matches, and a denied one has a denied topic', () => {
  const identity = fc.constantFrom('a', 'a/b', 'a/b/a', 'b', 'vendor-x-service', 'MRO-Admin');
  const role: fc.Arbitrary<Role> = fc.record({
    publish: fc.array(filterArbitrary, { maxLength: 3 }),
    subscribe: fc.array(filterArbitrary, { maxLength: 3 }),
  });
  fc.assert(
    fc.property(identity, role, filterArbitrary, (name, row, filter) => {
      const roles = rolesWith({ [name]: row });
      const action: Action = 'subscribe';
      const topics = universe.filter((topic) => matchesTopic(filter, topic));
      assert.equal(
        isAllowed(name, action, filter, roles),
        topics.every((topic) => isAllowed(name, action, topic.join('/'), roles)),
      );
    }),
  );
});
