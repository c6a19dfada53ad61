import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { KnownReaders } from '../../../broker/access/known-readers.ts';
import { rolesWith } from '../../../broker/access/roles.ts';
import { isAllowed } from '../../../broker/access/tacs.ts';

test('KnownReaders: answers as the rights say, also after the roles have changed', () => {
  const tables = [
    rolesWith({}),
    rolesWith({ 'vendor-snapshot-service': { subscribe: ['ms-acc-1/+/+/snapshots'] } }),
    rolesWith({ 'ms-acc-2': { subscribe: ['ms-acc-1/#'] } }),
  ] as const;
  const question = fc.record({
    identity: fc.constantFrom(
      'ms-acc-1',
      'ms-acc-2',
      'ms-acc-1/acc-1',
      'vendor-snapshot-service',
      'MRO-Admin',
    ),
    topic: fc.constantFrom(
      'ms-acc-1/acc-1/dev-1/snapshots',
      'ms-acc-2/acc-1/dev-1/snapshots',
      'ms-acc-1',
      'vendor/crl/tls',
    ),
    roles: fc.constantFrom(...tables),
  });
  fc.assert(
    fc.property(fc.array(question, { maxLength: 60 }), (questions) => {
      const readers = new KnownReaders();
      for (const { identity, topic, roles } of questions) {
        const expected = isAllowed(identity, 'subscribe', topic, roles);
        assert.equal(readers.mayRead(identity, topic, roles), expected);
      }
    }),
  );
});
