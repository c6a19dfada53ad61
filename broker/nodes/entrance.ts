/** Where clients come in that another process has: their certificates count as much as in a handshake of one's own. */
import { parsePeerChain } from '../../pki/peer-chain.ts';
import { PkiError } from '../../pki/errors.ts';
import type { Log } from '../../runtime/log.ts';
import type { Peer, PeerVerifier } from '../access/identity.ts';
import type { Transport } from '../connection/transport.ts';
import type { Measures } from '../measures.ts';
import type { RefusalReason } from '../reasons.ts';
import type { Channel } from './channel.ts';
import type { ChannelPurpose } from './frames.ts';
import type { Member } from './member.ts';

export interface EntranceOptions {
  readonly verifier: PeerVerifier;
  readonly measures: Pick<Measures, 'refusals'>;
  readonly log: Log;
  readonly clock: () => number;
  /** @returns false if this process cannot serve it now */
  readonly admit: (transport: Transport, peer: Peer) => boolean;
}

/** It may have made a mistake, so everything is verified here again. */
function admitChannel(channel: Channel, chain: readonly Buffer[], options: EntranceOptions): void {
  const { verifier, measures, log, clock, admit } = options;
  let identity: string | undefined;
  const refuse = (reason: RefusalReason, detail?: string): void => {
    measures.refusals.inc({ reason });
    log.warn({ identity, address: channel.remoteAddress, reason, detail }, 'connection.refused');
    channel.destroy();
  };
  try {
    const certificates = parsePeerChain(chain);
    identity = certificates[0]?.commonName;
    const peer = verifier.verifyChain(certificates, clock());
    verifier.recheck(peer);
    if (!admit(channel, peer)) refuse('unavailable');
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    refuse(error.code, error.message);
  }
}

/** From a process of this machine. */
export function frontEntrance(options: EntranceOptions): (channel: Channel, purpose: ChannelPurpose) => void {
  return (channel, purpose) => {
    if (purpose.kind === 'client') admitChannel(channel, purpose.chain, options);
    else channel.destroy();
  };
}

/** From another node, which must have meant the active one: nothing is passed on, or two could pass it for ever. */
export function peerEntrance(
  options: EntranceOptions & { readonly member: Pick<Member, 'isActive' | 'serveSnapshot'> },
): (channel: Channel, purpose: ChannelPurpose) => void {
  const { member } = options;
  return (channel, purpose) => {
    if (!member.isActive) channel.destroy();
    else if (purpose.kind === 'snapshot') void member.serveSnapshot(channel);
    else admitChannel(channel, purpose.chain, options);
  };
}

/** What whoever serves a client has to know of it: where it comes from, and its certificates as they were shown. */
export function clientPurpose(
  { remoteAddress = '' }: Pick<Transport, 'remoteAddress'>,
  { verified }: Pick<Peer, 'verified'>,
): ChannelPurpose {
  return { kind: 'client', address: remoteAddress, chain: verified.chain.map(({ der }) => der) };
}
