/** Where clients come in that another process has: their certificates count as much as in a handshake of one's own. */
import { parseCertificate } from '../../pki/certificate.ts';
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
  /** @returns false if this process cannot serve it now */
  readonly admit: (transport: Transport, peer: Peer) => boolean;
}

/** It may have made a mistake, so everything is verified here again. */
function admitChannel(channel: Channel, chain: readonly Buffer[], options: EntranceOptions): void {
  const { verifier, measures, log, admit } = options;
  const refuse = (reason: RefusalReason, detail?: string): void => {
    measures.refusals.inc({ reason });
    log.warn(
      { identity: claimedName(chain), address: channel.remoteAddress, reason, detail },
      'connection.refused',
    );
    channel.destroy();
  };
  try {
    // A session that was resumed there has its whole chain here, like any other.
    const peer = verifier.verifyPresented(chain, false);
    if (!admit(channel, peer)) refuse('unavailable');
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    refuse(error.code, error.message);
  }
}

/** For the log alone. */
function claimedName([leaf]: readonly Buffer[]): string | undefined {
  try {
    return leaf && parseCertificate(leaf).commonName;
  } catch {
    return undefined; // it is not even a certificate; the verifier says so
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
