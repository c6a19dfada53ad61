/** New certificates show that they work; only then they are the device's, and the ones before may go. */
import { encodeDeviceStatus } from '../../domain/device-status.ts';
import { deviceTopic } from '../../domain/topic.ts';
import { patiently } from './bearer.ts';
import type { KeysContext } from './bearer.ts';
import type { HeldIdentity } from './held-identity.ts';
import { publishOnce } from './publish-once.ts';
import { switchTo } from './slots.ts';
import type { KeySlots } from './slots.ts';

/**
 * A connection with the new TLS certificate, then an envelope by the new SIG and ENC keys, both acknowledged.
 *
 * @throws KeySlotsError `slots.unproven`, `slots.stopped`; PkiError
 */
export async function proveRenewed(context: KeysContext, slots: KeySlots, next: HeldIdentity): Promise<void> {
  const { root, bearer, signal, log } = context;
  await proveTls(context, next);
  log.info({ slot: slots.spare }, 'certificates.adopted');
  await bearer.adopt(next);
  await patiently(bearer.proven(), signal);
  switchTo(root, slots.spare);
}

/** In a new place nobody waits for an envelope: what is signed and acknowledged is the confirmation, later. */
export async function proveMoved(context: KeysContext, slots: KeySlots, next: HeldIdentity): Promise<void> {
  const { root, bearer } = context;
  await proveTls(context, next);
  switchTo(root, slots.spare);
  await bearer.move(next);
}

/** Whoever may say of a device that it is there, may say all that the device says. */
async function proveTls(context: KeysContext, next: HeldIdentity): Promise<void> {
  const { bearer, agentVersion, times, signal, log, reconnect } = context;
  await publishOnce({
    ...bearer.brokerOf(next),
    identity: next.tls,
    topic: deviceTopic(next.path, 'status'),
    payload: encodeDeviceStatus({ state: 'online', agentVersion }),
    retain: true,
    timeoutMs: times.trialMs,
    signal,
    log,
    reconnect,
  });
}
