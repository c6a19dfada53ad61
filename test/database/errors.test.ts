import assert from 'node:assert/strict';
import test from 'node:test';
import { faultOf, isRefusal } from '../../database/errors.ts';
import { inTransaction } from '../../database/statements.ts';
import { freshDatabase, testBoth } from './engines.ts';

testBoth('isRefusal: of what the engines say, only what is about values', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const said = (text: string, ...values: (string | number | null)[]): Promise<unknown> =>
    inTransaction(database, (statements) => statements.run(text, values)).then(
      () => assert.fail(text),
      (error: unknown) => error,
    );
  const insert = 'insert into unit (id, symbol) values (?, ?)';
  await inTransaction(database, (statements) => statements.run(insert, [1, 'bar']));
  assert.ok(isRefusal(await said(insert, 2, 'bar')));
  assert.ok(isRefusal(await said(insert, 2, null)));
  assert.ok(isRefusal(await said(insert, 'x', 'l')));
  if (engine === 'mysql') assert.ok(isRefusal(await said(insert, 2, 'x'.repeat(33))));
  for (const text of ['insert into unit (nothing) values (?)', 'insert in unit values (?)'])
    assert.ok(!isRefusal(await said(text, 1)), text);
});

test('isRefusal: who may not, or has used up what it may, is told so of everything', () => {
  const said: readonly (readonly [code: string, sqlState: string])[] = [
    ['ER_ACCESS_DENIED_ERROR', '28000'],
    ['ER_TABLEACCESS_DENIED_ERROR', '42000'],
    ['ER_USER_LIMIT_REACHED', '42000'],
    ['ER_MAX_PREPARED_STMT_COUNT_REACHED', '42000'],
    ['ER_STATEMENT_TIMEOUT', '70100'],
    ['ER_LOCK_DEADLOCK', '40001'],
  ];
  for (const [code, sqlState] of said)
    assert.ok(!isRefusal(Object.assign(new Error(code), { code, sqlState })));
  assert.ok(isRefusal(new RangeError('a value of ours')));
  assert.equal(faultOf(new RangeError('a value of ours')), undefined);
});
