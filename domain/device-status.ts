/** What a device publishes retained at `M/A/E/status`; its last will is the same with `offline`. */

export interface DeviceStatus {
  readonly state: 'online' | 'offline';
  readonly agentVersion: string;
}

const versionLengthMax = 40;

export function encodeDeviceStatus(status: DeviceStatus): string {
  return JSON.stringify(status);
}

/** @returns undefined if the payload is no status: a peer's nonsense is not our error */
export function parseDeviceStatus(payload: Uint8Array): DeviceStatus | undefined {
  let decoded: unknown;
  try {
    decoded = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof decoded !== 'object' || decoded === null) return undefined;
  const { state, agentVersion } = Object.fromEntries(Object.entries(decoded));
  if (state !== 'online' && state !== 'offline') return undefined;
  if (typeof agentVersion !== 'string' || agentVersion.length > versionLengthMax) return undefined;
  return { state, agentVersion };
}
