/** A front: a process of the broker that does handshakes and encryption, and passes what it decrypts to the one with the state. */
import { Socket } from 'node:net';
import { systemClock } from '../../domain/clock.ts';
import { loadTlsIdentity } from '../../pki/identity.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import { RevocationIndex } from '../../pki/revocation.ts';
import { createLog } from '../../runtime/log.ts';
import { startErrorText } from '../../runtime/shutdown.ts';
import type { Peer } from '../access/identity.ts';
import { PeerVerifier } from '../access/identity.ts';
import type { BrokerConfig } from '../config.ts';
import { startListener } from '../connection/listener.ts';
import type { Listener } from '../connection/listener.ts';
import type { Transport } from '../connection/transport.ts';
import { tlsTransport } from '../connection/transport.ts';
import { startWebSocketListener } from '../connection/websocket-listener.ts';
import { createMeasures } from '../measures.ts';
import { clientPurpose } from './entrance.ts';
import { linkDescriptor } from './front-messages.ts';
import type { FrontOrder, FrontReport } from './front-messages.ts';
import { Link } from './link.ts';
import { relay } from './relay.ts';

const reportMs = 1000;
const dayMs = 86_400_000;

const listeners: Listener[] = [];
let current: BrokerConfig | undefined;
let limits: BrokerConfig['limits'] | undefined;
let roots: TlsIdentity['roots'] = [];
const rootLog = createLog('broker');
const log = rootLog.child({ part: 'front', pid: process.pid });
const measures = createMeasures();
const verifier = new PeerVerifier({
  get roots() {
    return roots;
  },
  revocation: new RevocationIndex(), // the process with the state has the lists, and asks them
  stalePolicy: { action: 'warn' },
  get expiredGraceMs() {
    return (current?.expiredGraceDays ?? 0) * dayMs;
  },
  clock: systemClock,
});
const reported = new Map<string, number>();

// The first process ends us in its time: by closing the link, or by its own end.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.once('disconnect', () => process.exit(0));

const link = new Link(new Socket({ fd: linkDescriptor }), {
  log,
  onClosed: () => process.exit(0),
});
setInterval(reportRefusals, reportMs).unref();

process.on('message', (order: FrontOrder) => {
  if (order.kind === 'close') {
    void Promise.all(listeners.map((listener) => listener.close())).then(() => process.exit(0));
    return;
  }
  obey(order).catch((error: unknown) => {
    const reason = startErrorText(error);
    if (order.kind === 'open') report({ kind: 'failed', reason });
    // The files changed again since the first process read them: it will see that, and say so once more.
    else log.warn({ reason }, 'front.reload_failed');
  });
});

async function obey({
  kind,
  config,
  connectionsMax,
  sharesPorts,
}: Extract<FrontOrder, { config: object }>): Promise<void> {
  current = config;
  limits = Object.assign(limits ?? config.limits, config.limits, { connectionsMax });
  const identity = loadTlsIdentity(config.identity, {
    nowMs: systemClock(),
    passphraseFile: config.passphraseFile,
  });
  roots = identity.roots;
  rootLog.level = config.log.level;
  if (kind === 'open') await open(config, identity, { limits, reusePort: sharesPorts });
  else for (const listener of listeners) listener.reload(identity);
}

async function open(
  config: BrokerConfig,
  identity: TlsIdentity,
  own: { readonly limits: BrokerConfig['limits']; readonly reusePort: boolean },
): Promise<void> {
  const shared = { ...own, identity, verifier, measures, log };
  const listener = await startListener({
    ...shared,
    endpoint: config.listen,
    onPeer: (socket, peer) => pass(tlsTransport(socket), peer),
  });
  listeners.push(listener);
  const webSocketListener =
    config.listenWebSocket &&
    (await startWebSocketListener({
      ...shared,
      endpoint: config.listenWebSocket,
      origins: () => current?.webSocketOrigins ?? [],
      onPeer: pass,
    }));
  if (webSocketListener !== undefined) listeners.push(webSocketListener);
  report({ kind: 'listening', port: listener.port, webSocketPort: webSocketListener?.port });
}

function pass(client: Transport, peer: Peer): boolean {
  if (link.isClosed) return false;
  relay(client, link.open(clientPurpose(client, peer)));
  return true;
}

/** So that the metrics of the broker count what was refused here. */
function reportRefusals(): void {
  for (const { labels, count } of measures.refusals.entries) {
    const { reason } = labels;
    const more = count - (reported.get(reason) ?? 0);
    if (more === 0) continue;
    reported.set(reason, count);
    report({ kind: 'refused', reason, count: more });
  }
}

function report(message: FrontReport): void {
  if (process.connected) process.send?.(message);
}
