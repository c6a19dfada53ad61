import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { authorityFiles } from '../../pki/authority/store.ts';
import { certificatesToPem } from '../../pki/certificate.ts';
import { crlBundleToPem } from '../../pki/crl-bundle.ts';
import { crlsFromPem } from '../../pki/crl.ts';
import { verifyPath } from '../../pki/path.ts';
import type { VerifiedIdentity } from '../../pki/path.ts';
import { stalePolicyOf, staleCrlType } from '../../pki/stale-crl-type.ts';
import { bundleOf, freshLists, listsIn, temporaryDirectory } from './lists.ts';
import { rogueCertificate, rogueCrl, stolenAuthority } from './rogue-authority.ts';

const device = 'ms-acc-1/acc-1/dev-1';
const dayMs = 86_400_000;

async function issued(authority: Authority, name = device): Promise<VerifiedIdentity> {
  const { certificates } = await authority.issue({ path: name, kinds: ['sig'] });
  const { sig } = certificates;
  assert.ok(sig);
  const roots = [authority.roots.e2e];
  return verifyPath({ chain: sig.chain, roots, atMs: Date.now(), purpose: 'signature' });
}

async function site(context: TestContext) {
  const authority = createAuthority({ directory: path.join(temporaryDirectory(context), 'pki') });
  const identity = await issued(authority);
  const before = bundleOf(authority);
  await authority.revoke({ target: { path: device }, reason: 'keyCompromise' });
  return { authority, identity, before, after: bundleOf(authority), roots: [authority.roots.e2e] };
}

async function counted(metrics: Awaited<ReturnType<typeof freshLists>>['metrics'], name: string) {
  const found = await metrics.registry.getSingleMetric(name)?.get();
  return Object.fromEntries(
    (found?.values ?? []).map(({ labels, value }) => [labels['reason'] ?? '', value]),
  );
}

test('RevocationLists: what a list revokes is refused from its date on, also after a restart', async (context) => {
  const { identity, before, after, roots } = await site(context);
  const { lists, directory, events } = freshLists(context, roots);
  assert.equal(lists.take(before), true);
  lists.requireUnrevoked(identity, Date.now());
  assert.equal(lists.take(after), true);
  assert.equal(lists.take(after), false);
  assert.equal(lists.generation, 2);
  const refused = { code: 'pki.revoked', message: /keyCompromise/ };
  assert.throws(() => lists.requireUnrevoked(identity, Date.now()), refused);
  lists.requireUnrevoked(identity, Date.now() - dayMs); // it had reached us before
  const restarted = listsIn(directory, roots);
  assert.equal(restarted.lists.size, lists.size);
  assert.throws(() => restarted.lists.requireUnrevoked(identity, Date.now()), refused);
  assert.deepEqual(
    events.map(({ event }) => event),
    ['crl.applied', 'crl.applied'],
  );
});

test('RevocationLists: an older list is refused and said, before and after a restart', async (context) => {
  const { identity, before, after, roots } = await site(context);
  const { lists, directory } = freshLists(context, roots);
  lists.take(after);
  const restarted = listsIn(directory, roots);
  for (const held of [lists, restarted.lists]) {
    assert.equal(held.take(before), false);
    assert.throws(() => held.requireUnrevoked(identity, Date.now()), { code: 'pki.revoked' });
  }
  assert.equal(restarted.events[0]?.event, 'crl.refused');
  assert.equal(restarted.events[0]?.['reason'], 'pki.crl_rollback');
  assert.deepEqual(await counted(restarted.metrics, 'plombe_revocation_lists_refused_total'), {
    'pki.crl_rollback': 1,
  });
});

test('RevocationLists: a bundle with one fault changes nothing', async (context) => {
  const { authority, identity, before, after, roots } = await site(context);
  const other = createAuthority({ directory: path.join(temporaryDirectory(context), 'pki') });
  const { lists, events } = freshLists(context, roots);
  lists.take(after);
  const account = stolenAuthority(authority, 'e2e', 'ms-acc-1/acc-1');
  const forged = rogueCrl({ issuer: account, number: 99, key: rogueCertificate({}).key });
  const oneForged = crlBundleToPem([{ authority: account.certificate, crl: forged }]);
  const refusals = [
    ['pki.untrusted', bundleOf(other)], // its root has the name of ours, and another key
    ['pki.malformed_crl', Buffer.from('nonsense')],
    ['pki.malformed_crl', after.subarray(0, -40)],
    ['pki.untrusted', Buffer.from(oneForged)], // nor is the master account's CA there
    ['pki.bad_signature', Buffer.concat([after, Buffer.from(oneForged)])],
    ['pki.crl_rollback', Buffer.concat([after, before])],
  ] as const;
  for (const [, payload] of refusals) assert.equal(lists.take(payload), false);
  assert.equal(lists.take(Buffer.alloc(0)), false); // the retained message was deleted
  assert.deepEqual(
    events.slice(1).map(({ reason }) => reason),
    refusals.map(([reason]) => reason),
  );
  assert.throws(() => lists.requireUnrevoked(identity, Date.now()), { code: 'pki.revoked' });
});

test('RevocationLists: a list that a carrier left out of a bundle stays as it is', async (context) => {
  const { authority, identity, after, roots } = await site(context);
  const { lists, directory } = freshLists(context, roots);
  lists.take(after);
  await authority.issueCrl();
  const root = stolenAuthority(authority, 'e2e', 'root');
  const alone = crlBundleToPem([
    { authority: root.certificate, crl: rogueCrl({ issuer: root, number: 50 }) },
  ]);
  assert.equal(lists.take(Buffer.from(alone)), true);
  for (const held of [lists, listsIn(directory, roots).lists]) {
    assert.throws(() => held.requireUnrevoked(identity, Date.now()), { code: 'pki.revoked' });
  }
});

test('RevocationLists: a missing or outdated list is said once or refused, by policy', async (context) => {
  const { authority, identity, roots } = await site(context);
  const inTenDays = Date.now() + 10 * dayMs;
  const other = await issued(authority, 'ms-acc-1/acc-1/dev-2');
  const warned = freshLists(context, roots);
  const said = (): number => warned.events.filter(({ event }) => event === 'crl.stale').length;
  warned.lists.requireUnrevoked(other, Date.now());
  const missing = said();
  assert.equal(missing, 3); // the root's, the master account's and the account's
  warned.lists.requireUnrevoked(other, Date.now());
  assert.equal(said(), missing);
  assert.deepEqual(await counted(warned.metrics, 'plombe_revocation_stale_passes_total'), { '': 2 });
  warned.lists.take(bundleOf(authority));
  warned.lists.requireUnrevoked(other, Date.now());
  assert.equal(said(), missing);
  warned.lists.requireUnrevoked(other, inTenDays);
  assert.equal(said(), 2 * missing);

  const strict = freshLists(context, roots, { action: 'refuse', staleAfterMs: dayMs });
  assert.throws(() => strict.lists.requireUnrevoked(other, Date.now()), { code: 'pki.stale_crl' });
  strict.lists.take(bundleOf(authority));
  strict.lists.requireUnrevoked(other, Date.now());
  assert.throws(() => strict.lists.requireUnrevoked(other, Date.now() + 2 * dayMs), {
    code: 'pki.stale_crl',
  });
  assert.throws(() => strict.lists.requireUnrevoked(identity, inTenDays), { code: 'pki.revoked' });
});

test('RevocationLists: the next update that is due first is a metric', async (context) => {
  const { authority, after, roots } = await site(context);
  const { lists, directory, metrics } = freshLists(context, roots);
  lists.take(after);
  const [due] = Object.values(await counted(metrics, 'plombe_revocation_next_update_seconds'));
  assert.ok(
    due !== undefined && due > Date.now() / 1000 + 6 * 86_400 && due < Date.now() / 1000 + 8 * 86_400,
  );
  const restarted = listsIn(directory, [authority.roots.e2e]);
  assert.deepEqual(Object.values(await counted(restarted.metrics, 'plombe_revocation_next_update_seconds')), [
    due,
  ]);
});

test('RevocationLists: what cannot be stored counts all the same, and is said', async (context) => {
  const { identity, after, roots } = await site(context);
  const { lists, directory, events } = freshLists(context, roots);
  // A directory of the file's name: also root cannot replace it by a file.
  mkdirSync(path.join(directory, 'e2e-crl.pem', 'in the way'), { recursive: true });
  chmodSync(directory, 0o755);
  assert.equal(lists.take(after), true);
  assert.throws(() => lists.requireUnrevoked(identity, Date.now()), { code: 'pki.revoked' });
  assert.equal(events.at(-1)?.['reason'], 'not_kept');
});

test('RevocationLists: a damaged file is no reason to forget', async (context) => {
  const { after, roots } = await site(context);
  const { lists, directory } = freshLists(context, roots);
  lists.take(after);
  const file = path.join(directory, 'e2e-crl.pem');
  const kept = readFileSync(file);
  for (const damaged of [kept.subarray(0, kept.length - 30), Buffer.from('')]) {
    writeFileSync(file, damaged);
    assert.throws(
      () => listsIn(directory, roots),
      (error: Error & { code?: string }) =>
        error.code === 'pki.malformed_crl' && error.message.startsWith(file),
    );
  }
});

// Killed again and again: what it said that it holds, it holds afterwards.
test('RevocationLists: a process killed while it takes lists keeps what it took', async (context) => {
  const base = temporaryDirectory(context);
  const [directory, bundles, root] = ['data', 'bundles', 'root.pem'].map((name) => path.join(base, name));
  assert.ok(directory && bundles && root);
  mkdirSync(bundles);
  const authority = createAuthority({ directory: path.join(base, 'pki') });
  writeFileSync(root, certificatesToPem([authority.roots.e2e]));
  const rounds = 12;
  for (let round = 0; round < rounds; round++) {
    await authority.issueCrl();
    writeFileSync(path.join(bundles, String(round).padStart(3, '0')), bundleOf(authority));
  }
  const script = path.join(import.meta.dirname, 'revocation-lists-process.ts');
  let last = -1;
  for (let kills = 0; last < rounds - 1; kills++) {
    assert.ok(kills <= rounds, 'each start takes at least one list');
    const child = spawn(process.execPath, [script, directory, bundles, root]);
    child.stderr.resume();
    let said = '';
    for await (const chunk of child.stdout) {
      said += String(chunk);
      // After one, two or three lists, wherever it is by then.
      if (said.split('\n').length > 1 + (kills % 3)) child.kill('SIGKILL');
    }
    const names = said.split('\n').filter((line) => /^\d+$/.test(line));
    assert.ok(listsIn(directory, [authority.roots.e2e]).lists.size > 0);
    const held = numberIn(path.join(directory, 'e2e-crl.pem')) - numberIn(path.join(bundles, '000'));
    assert.ok(held >= Number(names.at(-1) ?? last), `said ${names.at(-1)}, holds ${held}`);
    assert.ok(held >= last);
    last = held;
  }
});

function numberIn(file: string): number {
  return crlsFromPem(readFileSync(file))[0]?.number ?? Number.NaN;
}

test('RevocationLists: what is below a revoked CA is revoked, whether or not that CA still issues lists', async (context) => {
  const { authority, roots } = await site(context);
  const other = await issued(authority, 'ms-acc-1/acc-1/dev-2');
  await authority.revoke({ target: { path: 'ms-acc-1/acc-1' }, kinds: ['ca'] });
  const above = ['root', 'ms-acc-1'].map((name) => {
    const [crl] = crlsFromPem(readFileSync(authorityFiles(authority.directory, 'e2e', name).crl));
    assert.ok(crl);
    return { authority: stolenAuthority(authority, 'e2e', name).certificate, crl };
  });
  const { lists } = freshLists(context, roots, { action: 'refuse' });
  lists.take(Buffer.from(crlBundleToPem(above)));
  assert.throws(() => lists.requireUnrevoked(other, Date.now()), { code: 'pki.revoked' });
});

test('stalePolicyOf: hours are counted from the issue, and without any the next update decides', () => {
  assert.deepEqual(stalePolicyOf(staleCrlType.parse({})), { action: 'warn' });
  assert.deepEqual(stalePolicyOf(staleCrlType.parse({ action: 'refuse', afterHours: 2 })), {
    action: 'refuse',
    staleAfterMs: 7_200_000,
  });
});
