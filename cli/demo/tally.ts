/** What the running demo has done so far, asked of the programs themselves. */
import { z } from 'zod';

export interface DeviceTally {
  readonly path: string;
  readonly sealed: number;
  readonly delivered: number;
  readonly stored: number;
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
      rejected: z.record(z.string(), z.number()).optional(),
    }),
  ),
});
export type AgentState = z.infer<typeof agentStateType>;

const fleetType = z.array(z.object({ path: z.string(), stored: z.number(), condition: z.string() }));
export type Fleet = z.infer<typeof fleetType>;

const askTimeoutMs = 2_000;

/** @returns undefined while the agent does not answer, as when it was killed */
export async function askAgent(endpoint: string): Promise<AgentState | undefined> {
  return ask(`http://${endpoint}/state`, {}, agentStateType);
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

  async fleet(): Promise<Fleet | undefined> {
    if (this.#cookie === '' && !(await this.#login())) return undefined;
    const fleet = await ask(`${this.#url}/api/fleet`, { cookie: this.#cookie }, fleetType);
    if (!fleet) this.#cookie = ''; // a backend that was started again may not know the session
    return fleet;
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

async function ask<T>(
  url: string,
  headers: Record<string, string>,
  type: z.ZodType<T>,
): Promise<T | undefined> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(askTimeoutMs) });
    if (!response.ok) return undefined;
    return type.parse(await response.json());
  } catch (error) {
    if (error instanceof z.ZodError) throw error;
    return undefined; // it is starting, or starting again
  }
}

/** @returns a row a device, in the order of the paths */
export function tallyDevices(agents: readonly AgentState[], fleet: Fleet): DeviceTally[] {
  const stored = new Map(fleet.map((row) => [row.path, row]));
  return agents
    .flatMap((agent) => agent.devices)
    .map((device) => ({
      path: device.path,
      sealed: device.sealed,
      delivered: device.delivered,
      stored: stored.get(device.path)?.stored ?? 0,
      lastValue: device.lastValue ? valueText(device.lastValue) : '',
      state: device.connected ? (stored.get(device.path)?.condition ?? 'unknown') : 'disconnected',
    }))
    .toSorted((a, b) => a.path.localeCompare(b.path));
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
