/** Makes a broker one node of several: its copy, its door for the others, and its way to the active one. */
import type { Listener } from '../connection/listener.ts';
import type { CoreOptions } from '../core.ts';
import type { Supervisor } from '../supervisor.ts';
import type { ClusterConfig } from './cluster-config.ts';
import { peerEntrance } from './entrance.ts';
import { Member } from './member.ts';
import { createNodeMeasures } from './node-measures.ts';
import { ActiveLink, openPeerDoor } from './peers.ts';
import type { PeerDoor } from './peers.ts';

const measureMs = 1000;

/** @throws BrokerError if the data directory is in use or of no use; the system's error if the address cannot be had */
export async function joinCluster(
  cluster: ClusterConfig,
  supervisor: Supervisor,
  options: Omit<CoreOptions, 'onFailure' | 'room'>,
): Promise<Listener> {
  const { settings, clock, monotonicMs } = options;
  const { config } = settings;
  const log = options.log.child({ part: 'nodes' });
  const shared = { settings, clock, log };
  let door: PeerDoor | undefined;
  const member = new Member({
    config: cluster,
    directory: config.data,
    durability: config.durability,
    storeBytesMax: config.limits.storeBytesMax,
    log,
    led: supervisor,
    active: new ActiveLink(shared),
    onLeft: () => door?.finish(),
    monotonicMs,
  });
  supervisor.join(member);
  const admit = supervisor.admit.bind(supervisor);
  const opened = await openPeerDoor({
    ...options,
    ...shared,
    endpoint: cluster.listen,
    onChannel: peerEntrance({ ...options, member, admit }),
  });
  door = opened;
  member.start();
  const measures = createNodeMeasures(options.measures.metrics);
  const timer = setInterval(() => measures.set(member.state), measureMs);
  return {
    ...opened,
    close: () => {
      clearInterval(timer);
      return opened.close();
    },
  };
}
