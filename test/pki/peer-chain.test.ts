import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { createAuthority } from '../../pki/authority/authority.ts';
import { certificatesFromPem, certificatesToPem } from '../../pki/certificate.ts';
import { loadTlsIdentity } from '../../pki/identity.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import { verifyPath } from '../../pki/path.ts';
import { peerChain } from '../../pki/peer-chain.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-peer-'));
const authority = createAuthority({ directory: path.join(directory, 'pki') });
after(() => rmSync(directory, { recursive: true, force: true }));

async function issue(name: string, hosts?: readonly string[]): Promise<TlsIdentity> {
  const outputDirectory = path.join(directory, name);
  await authority.issue({ path: name, kinds: ['tls'], outputDirectory, ...(hosts ? { hosts } : {}) });
  return loadTlsIdentity(outputDirectory);
}

const server = await issue('vendor-broker', ['localhost']);

function tlsOptions(identity: TlsIdentity) {
  return { key: identity.privateKeyPem, cert: identity.chainPem, ca: identity.rootsPem };
}

// A customer's own client has the name of the CA that issued it: names alone do not tell where a chain ends.
for (const name of ['ms-acc-1', 'ms-acc-1/acc-1', 'ms-acc-1/acc-1/dev-1']) {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`peerChain: both sides see the whole chain of the other, ${name} by ${version}`, async (context) => {
      const client = await issue(name);
      const listener = createServer({
        ...tlsOptions(server),
        requestCert: true,
        minVersion: version,
        maxVersion: version,
      });
      listener.listen(0, '127.0.0.1');
      await once(listener, 'listening');
      const { port } = listener.address() as AddressInfo;
      const accepted = once(listener, 'secureConnection') as Promise<[TLSSocket]>;
      const socket = connect({
        host: '127.0.0.1',
        port,
        ...tlsOptions(client),
        checkServerIdentity: () => undefined,
      });
      await once(socket, 'secureConnect');
      const [peer] = await accepted;
      context.after(() => {
        socket.destroy();
        peer.destroy();
        listener.close();
      });
      const question = { roots: [authority.roots.tls], atMs: Date.now() };
      const seen = verifyPath({ ...question, chain: peerChain(peer), purpose: 'tls-client' });
      assert.equal(seen.commonName, name);
      assert.equal(
        verifyPath({ ...question, chain: peerChain(socket), purpose: 'tls-server' }).commonName,
        'vendor-broker',
      );
    });
  }
}

// RFC 8446 §4.4.2: the leaf is first, and all else in any order; RFC 5246 §7.4.2 allowed one order alone.
for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`peerChain: whatever order a client sends its CAs in, and the root with them, it is known, by ${version}`, async (context) => {
    const client = await issue('ms-acc-1/acc-1/dev-1');
    const [leaf, account, master] = certificatesFromPem(client.chainPem);
    const root = authority.roots.tls;
    assert(leaf && account && master);
    const listener = createServer({
      ...tlsOptions(server),
      requestCert: true,
      minVersion: version,
      maxVersion: version,
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    context.after(() => listener.close());
    const { port } = listener.address() as AddressInfo;
    for (const sent of [
      [leaf, master, account],
      [leaf, root, account, master],
      [leaf, master, root, account],
    ]) {
      const accepted = once(listener, 'secureConnection') as Promise<[TLSSocket]>;
      const options = { ...tlsOptions(client), cert: certificatesToPem(sent) };
      const socket = connect({ host: '127.0.0.1', port, ...options, checkServerIdentity: () => undefined });
      context.after(() => socket.destroy());
      const [peer] = await accepted;
      context.after(() => peer.destroy());
      assert.equal(peer.authorized, true);
      const question = { roots: [root], atMs: Date.now(), purpose: 'tls-client' } as const;
      const seen = verifyPath({ ...question, chain: peerChain(peer) });
      assert.deepEqual(seen.chain, [leaf, account, master]);
    }
  });
}

test('peerChain: a peer without a certificate is refused', async (context) => {
  const listener = createServer({ ...tlsOptions(server), requestCert: true, rejectUnauthorized: false });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const accepted = once(listener, 'secureConnection') as Promise<[TLSSocket]>;
  const socket = connect({
    host: '127.0.0.1',
    port,
    ca: server.rootsPem,
    checkServerIdentity: () => undefined,
  });
  const [peer] = await accepted;
  context.after(() => {
    socket.destroy();
    peer.destroy();
    listener.close();
  });
  assert.throws(() => peerChain(peer), { code: 'pki.untrusted' });
});
