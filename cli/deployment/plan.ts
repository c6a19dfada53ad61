/** What a deployment consists of: the vendor, its customers, and where each program runs. `init` and `demo` each make one. */

/** Where a program listens, and how others reach it. */
export interface ListenPlan {
  /** `host:port` to bind. */
  readonly listen: string;
  /** `host:port` that peers connect to. */
  readonly address: string;
  /** DNS names and addresses for the certificate. */
  readonly hosts: readonly string[];
}

export interface SimulatedDevice {
  readonly kind: 'simulator';
  readonly path: string;
  readonly type: 'FM' | 'PC';
  readonly condition: 'healthy' | 'wearing' | 'faulty' | 'overdue';
  readonly intervalMs: number;
  readonly seed: number;
  /** Every so many snapshots says how hard the machine is driven. */
  readonly usageEvery?: number;
}

/** A device whose snapshots come from a file; `unit` names it there. */
export interface ReplayedDevice {
  readonly kind: 'replay';
  readonly path: string;
  readonly unit: string;
}

export type DevicePlan = SimulatedDevice | ReplayedDevice;

export interface ReplayPlan {
  readonly file: string;
  readonly format: 'cmapss' | 'csv';
  /** Snapshots per second and device, or as fast as they are taken. */
  readonly speed: number | 'max';
  readonly csv?: CsvPlan;
}

export interface CsvPlan {
  readonly deviceType: string;
  readonly timeColumn?: string;
  readonly deviceColumn?: string;
}

export interface AgentPlan {
  /** Names the configuration file: `agent.yaml` for `agent`. */
  readonly name: string;
  readonly devices: readonly DevicePlan[];
  readonly replay?: ReplayPlan;
  /** How long a stop waits for deliveries. */
  readonly drainSeconds?: number;
  readonly observe?: string;
}

export interface AuditorPlan {
  readonly observe?: string;
  /** `host:port` of its page. */
  readonly page?: string;
  /** It only looks on unless given; to decide needs a broker of the customer's own. */
  readonly mode?: 'enforce';
}

export interface CustomerPlan {
  readonly masterAccount: string;
  /** Without one, the customer's devices connect straight to the vendor's broker. */
  readonly broker?: ListenPlan & { readonly observe?: string };
  readonly auditor?: AuditorPlan;
  readonly agents: readonly AgentPlan[];
}

export interface VendorPlan {
  readonly broker: ListenPlan & { readonly observe?: string };
  /** `host:port` of the dashboard and the API. */
  readonly http: string;
  readonly backendObserve?: string;
  readonly bpmObserve?: string;
  readonly registrarObserve?: string;
  /** `sqlite:PATH` (relative to the vendor's folder) or `mysql://…`. */
  readonly database: string;
}

export interface DeploymentPlan {
  readonly directory: string;
  readonly vendor: VendorPlan;
  readonly customers: readonly CustomerPlan[];
}

/** Customers have a folder of their own below the deployment's, so that none can collide with `pki` or `vendor`. */
export function customerFolder(masterAccount: string): string {
  return `customers/${masterAccount}`;
}

/** Where the vendor keeps the certificate of a customer whose word it waits for, relative to its own folder. */
export function releaserFile(masterAccount: string): string {
  return `releasers/${masterAccount}.sig.chain.pem`;
}

/** Where the vendor keeps the certificate of a customer who reads the commands to its devices, relative to its own folder. */
export function commandReaderFile(masterAccount: string): string {
  return `readers/${masterAccount}.enc.chain.pem`;
}

/** Where a device's keys are, relative to its customer's folder. */
export function deviceIdentityFolder(devicePath: string): string {
  return `identities/devices/${devicePath.split('/').slice(1).join('/')}`;
}

export const vendorBrokerName = 'vendor-broker';
export const snapshotServiceName = 'vendor-snapshot-service';
export const commandServiceName = 'vendor-command-service';
export const crlServiceName = 'vendor-crl-service';
