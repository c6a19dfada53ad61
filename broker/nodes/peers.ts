/** Links between nodes: mutual TLS with the brokers' own identity, and nobody else's. */
import type { TLSSocket } from 'node:tls';
import { errorText } from '../../domain/error-text.ts';
import { openSecureSocket } from '../../mqtt/secure-socket.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import type { Endpoint } from '../../runtime/config.ts';
import type { Log } from '../../runtime/log.ts';
import type { PeerVerifier } from '../access/identity.ts';
import { startListener } from '../connection/listener.ts';
import type { Listener } from '../connection/listener.ts';
import type { Measures } from '../measures.ts';
import type { Channel } from './channel.ts';
import type { ChannelPurpose } from './frames.ts';
import { Link } from './link.ts';
import type { Holder } from './shared-log.ts';

export interface PeersOptions {
  readonly endpoint: Endpoint;
  /** Read at each connection, for it may be renewed. */
  readonly settings: { readonly identity: TlsIdentity };
  readonly verifier: PeerVerifier;
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: () => number;
  readonly onChannel: (channel: Channel, purpose: ChannelPurpose) => void;
}

/** Of the other nodes; each has one, or two while it reconnects. */
const linksMax = 256;
const handshakeSeconds = 10;
const handshakesPerSecondMax = 100;

export interface PeerDoor extends Listener {
  /** Ends every link after what was sent: whoever they lead to is not active any more. */
  finish(): void;
}

/** Where the other nodes come in while this one is active. */
export async function openPeerDoor(options: PeersOptions): Promise<PeerDoor> {
  const { endpoint, settings, verifier, measures, log, onChannel } = options;
  const links = new Set<Link>();
  const admit = (socket: TLSSocket): void => {
    const link = new Link(socket, {
      log,
      onChannel,
      onClosed: (reason) => {
        links.delete(link);
        log.info({ address, reason }, 'node.left');
      },
    });
    const address = socket.remoteAddress;
    links.add(link);
    log.info({ address }, 'node.joined');
  };
  const listener = await startListener({
    endpoint,
    identity: settings.identity,
    verifier,
    limits: {
      connectionsMax: linksMax,
      handshakingMax: linksMax,
      handshakeSeconds,
      handshakesPerSecondMax,
      handshakesPerAddressPerSecondMax: handshakesPerSecondMax,
    },
    measures,
    log: log.child({ part: 'nodes' }),
    onPeer: (socket, { identity }) => {
      // Every client has a certificate below the same root; only a node has this broker's name.
      if (identity !== settings.identity.commonName) {
        log.warn({ identity, address: socket.remoteAddress }, 'node.refused');
        return false;
      }
      admit(socket);
      return true;
    },
  });
  return {
    port: listener.port,
    reload: (identity) => listener.reload(identity),
    close: () => listener.close(),
    finish: () => {
      for (const link of links) link.finish();
    },
  };
}

const connectTimeoutMs = 5000;

/** This node's link to the active one, while it is another. */
export class ActiveLink {
  readonly #options: Pick<PeersOptions, 'settings' | 'log' | 'clock'>;
  #holder: Holder | undefined;
  #link: Link | undefined;
  #isDialling = false;

  constructor(options: Pick<PeersOptions, 'settings' | 'log' | 'clock'>) {
    this.#options = options;
  }

  get link(): Link | undefined {
    return this.#link;
  }

  /** Who is active now; asked again and again, so that a lost link is dialled again. */
  toward(holder: Holder | undefined): void {
    if (holder?.epoch !== this.#holder?.epoch) this.#link?.close('another_node_is_active');
    this.#holder = holder;
    if (holder === undefined || this.#link !== undefined || this.#isDialling) return;
    this.#isDialling = true;
    this.#dial(holder).then(
      () => (this.#isDialling = false),
      (error: unknown) => {
        this.#isDialling = false;
        const reason = errorText(error);
        this.#options.log.warn({ node: holder.node, address: holder.address, reason }, 'node.link_failed');
      },
    );
  }

  close(): void {
    this.toward(undefined);
  }

  async #dial(holder: Holder): Promise<void> {
    const { settings, log, clock } = this.#options;
    const { socket } = await openSecureSocket({
      broker: endpointOf(holder.address),
      brokerName: settings.identity.commonName,
      identity: settings.identity,
      connectTimeoutMs,
      nowMs: clock(),
    });
    if (this.#holder?.epoch !== holder.epoch) {
      socket.destroy();
      return;
    }
    const link = new Link(socket, {
      log,
      onClosed: (reason) => {
        if (this.#link === link) this.#link = undefined;
        log.warn({ node: holder.node, reason }, 'node.link_lost');
      },
    });
    this.#link = link;
    log.info({ node: holder.node, epoch: holder.epoch }, 'node.linked');
  }
}

function endpointOf(address: string): Endpoint {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}
