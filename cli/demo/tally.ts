/** What the running demo has done so far, asked of the programs themselves. */
import { z } from 'zod';
import type { Withheld } from '../../auditor/withheld.ts';

export interface DeviceTally {
  readonly path: string;
  readonly sealed: number;
  readonly delivered: number;
  readonly stored: number;
  /** It waits for a person. */
  readonly held: number;
  readonly lastValue: string;
  readonly state: string;
}

const agentStateType = z.object({
  devices: z.array(
    z.object({
      path: z.string(),
      sealed: z.number(),
      delivered: z.number(),
      pending: z.number(),
      connected: z.boolean(),
      lastValue: z
        .object({
          channel: z.string(),
          value: z.union([z.number(), z.string(), z.boolean()]),
          unit: z.string().optional(),
        })
        .optional(),
      rejected: z.record(z.string(), z.number()),
    }),
  ),
  /** Of lines that belong to no device. */
  rejected: z.record(z.string(), z.number()),
});
export type AgentState = z.infer<typeof agentStateType>;

const fleetType = z.array(z.object({ path: z.string(), stored: z.number(), condition: z.string() }));
export type Fleet = z.infer<typeof fleetType>;

/** A backend that stores as fast as it can answers late. */
const askTimeoutMs = 5_000;

/** @returns undefined while the agent does not answer, as when it was killed */
export async function askAgent(endpoint: string): Promise<AgentState | undefined> {
  const { body } = (await get(`http://${endpoint}/state`)) ?? {};
  return body === undefined ? undefined : agentStateType.parse(body);
}

/** The dashboard's own API, with the demo's own login: what the table shows is what a person sees there. */
export class FleetReader {
  readonly #url: string;
  readonly #credentials: { readonly user: string; readonly password: string };
  #cookie = '';

  constructor(url: string, credentials: { readonly user: string; readonly password: string }) {
    this.#url = url;
    this.#credentials = credentials;
  }

  /** @returns undefined while the backend does not answer */
  async fleet(): Promise<Fleet | undefined> {
    if (this.#cookie === '' && !(await this.#login())) return undefined;
    const { status, body } = (await get(`${this.#url}/api/fleet`, { cookie: this.#cookie })) ?? {};
    if (status === 401) this.#cookie = ''; // the session has ended
    return body === undefined ? undefined : fleetType.parse(body);
  }

  async #login(): Promise<boolean> {
    try {
      const response = await fetch(`${this.#url}/api/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: this.#url },
        body: JSON.stringify(this.#credentials),
        signal: AbortSignal.timeout(askTimeoutMs),
      });
      this.#cookie = response.headers
        .getSetCookie()
        .map((cookie) => cookie.split(';', 1)[0] ?? '')
        .join('; ');
      return response.ok;
    } catch {
      return false; // it is starting, or starting again
    }
  }
}

interface Answer {
  readonly status: number;
  /** Undefined for a refusal. */
  readonly body: unknown;
}

/** @returns undefined without an answer that is whole: it may be killed in the middle of it */
async function get(url: string, headers: Record<string, string> = {}): Promise<Answer | undefined> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(askTimeoutMs) });
    return { status: response.status, body: response.ok ? await response.json() : undefined };
  } catch {
    return undefined; // it is starting, or starting again
  }
}

/** @returns a row a device, in the order of the paths */
export function tallyDevices(
  agents: readonly AgentState[],
  fleet: Fleet,
  withheld: ReadonlyMap<string, Withheld>,
): DeviceTally[] {
  const stored = new Map(fleet.map((row) => [row.path, row]));
  return agents
    .flatMap((agent) => agent.devices)
    .map((device) => ({
      path: device.path,
      sealed: device.sealed,
      delivered: device.delivered,
      stored: stored.get(device.path)?.stored ?? 0,
      held: withheld.get(device.path)?.held ?? 0,
      lastValue: device.lastValue ? valueText(device.lastValue) : '',
      state: device.connected ? (stored.get(device.path)?.condition ?? 'unknown') : 'disconnected',
    }))
    .toSorted((a, b) => a.path.localeCompare(b.path));
}

/**
 * @param readsOneFile - all agents read the same recording, so each reports the lines that belong to no device
 * @returns how many rows of the input were no snapshot
 */
export function countRejectedRows(agents: readonly AgentState[], readsOneFile: boolean): number {
  const ofNoDevice = new Map<string, number>();
  for (const { rejected } of agents) {
    for (const [reason, count] of Object.entries(rejected)) {
      const before = ofNoDevice.get(reason) ?? 0;
      ofNoDevice.set(reason, readsOneFile ? Math.max(before, count) : before + count);
    }
  }
  const ofDevices = agents.flatMap(({ devices }) =>
    devices.flatMap(({ rejected }) => Object.values(rejected)),
  );
  return [...ofNoDevice.values(), ...ofDevices].reduce((total, count) => total + count, 0);
}

function valueText({
  channel,
  value,
  unit,
}: {
  channel: string;
  value: unknown;
  unit?: string | undefined;
}): string {
  const text = typeof value === 'number' ? Number(value.toPrecision(6)).toString() : String(value);
  return `${channel} ${text}${unit === undefined ? '' : ` ${unit}`}`;
}
