/** A front: a process of the broker that does handshakes and encryption, and passes what it decrypts to the one with the state. */
import { Socket } from 'node:net';
import { systemClock } from '../../domain/clock.ts';
import { loadTlsIdentity } from '../../pki/identity.ts';
import { RevocationIndex } from '../../pki/revocation.ts';
import { createLog } from '../../runtime/log.ts';
import { startErrorText } from '../../runtime/shutdown.ts';
import type { Peer } from '../access/identity.ts';
import { PeerVerifier } from '../access/identity.ts';
import { startListener } from '../connection/listener.ts';
import type { Transport } from '../connection/transport.ts';
import { tlsTransport } from '../connection/transport.ts';
import { startWebSocketListener } from '../connection/websocket-listener.ts';
import { createMeasures } from '../measures.ts';
import { linkDescriptor } from './front-messages.ts';
import type { FrontOrder, FrontReport } from './front-messages.ts';
import { Link } from './link.ts';
import { relay } from './relay.ts';

const reportMs = 1000;

/** What the listeners of one configuration need to be ended. */
interface Doors {
  close(): Promise<unknown>;
}

let doors: Doors | undefined;
const measures = createMeasures();
const reported = new Map<string, number>();

// The first process ends us in its time: by closing the link, or by its own end.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.once('disconnect', () => process.exit(0));

const link = new Link(new Socket({ fd: linkDescriptor }), {
  log: createLog('broker').child({ part: 'front' }),
  onClosed: () => process.exit(0),
});
setInterval(reportRefusals, reportMs).unref();

process.on('message', (order: FrontOrder) => {
  if (order.kind === 'close') {
    void doors?.close();
    return;
  }
  open(order).then(
    (opened) => report({ kind: 'listening', ...opened }),
    (error: unknown) => report({ kind: 'failed', reason: startErrorText(error) }),
  );
});

async function open({ config, connectionsMax }: Extract<FrontOrder, { kind: 'open' }>): Promise<{
  port: number;
  webSocketPort: number | undefined;
}> {
  const log = createLog('broker', config.log.level).child({ part: 'front', pid: process.pid });
  const identity = loadTlsIdentity(config.identity, {
    nowMs: systemClock(),
    passphraseFile: config.passphraseFile,
  });
  const verifier = new PeerVerifier({
    roots: identity.roots,
    revocation: new RevocationIndex(), // the process with the state has the lists, and asks them
    stalePolicy: { action: config.staleCrl.action },
    expiredGraceMs: config.expiredGraceDays * 86_400_000,
    clock: systemClock,
  });
  const limits = { ...config.limits, connectionsMax };
  const shared = { limits, identity, verifier, measures, log };
  const listener = await startListener({
    ...shared,
    endpoint: config.listen,
    onPeer: (socket, peer) => pass(tlsTransport(socket), peer),
  });
  const webSocketListener =
    config.listenWebSocket &&
    (await startWebSocketListener({
      ...shared,
      endpoint: config.listenWebSocket,
      origins: () => config.webSocketOrigins,
      onPeer: pass,
    }));
  doors = { close: () => Promise.all([listener.close(), webSocketListener?.close()]) };
  return { port: listener.port, webSocketPort: webSocketListener?.port };
}

function pass(client: Transport, { verified }: Peer): boolean {
  if (link.isClosed) return false;
  relay(client, link.open({ kind: 'client', chain: verified.chain.map(({ der }) => der) }));
  return true;
}

/** So that the metrics of the broker count what was refused here. */
function reportRefusals(): void {
  for (const { labels, count: total } of measures.refusals.entries) {
    const { reason } = labels;
    const count = total - (reported.get(reason) ?? 0);
    if (count === 0) continue;
    reported.set(reason, total);
    report({ kind: 'refused', reason, count });
  }
}

function report(message: FrontReport): void {
  if (process.connected) process.send?.(message);
}
