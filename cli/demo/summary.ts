/** What the demo reports when it ends. */

/** The object that `--json` prints; `lost` and `duplicated` decide the exit status. */
export interface DemoSummary {
  /** Snapshots sealed by the agents, by their own durable count. */
  readonly sealed: number;
  readonly delivered: number;
  /** Sealed, and safe in an outbox that could not deliver before the end. */
  readonly pending: number;
  /** Rows in the database. */
  readonly stored: number;
  /** Waiting at a customer's auditor until a person decides. */
  readonly held: number;
  /** Kept at home by a customer's auditor. */
  readonly denied: number;
  /** Sealed, no longer in the outbox, and after everything has drained neither stored nor withheld by its owner. */
  readonly lost: number;
  /** Rows beyond the first with the same device and sequence number. */
  readonly duplicated: number;
  /** Envelopes that came again after a reconnect and were recognised. */
  readonly redelivered: number;
  /** Connections, publishes and subscriptions that brokers denied. */
  readonly refused: number;
  /** Rows of the input that were no snapshot, and messages that were no envelope. */
  readonly rejected: number;
  readonly workflows: { readonly normal: number; readonly abnormal: number; readonly overdue: number };
  readonly devices: number;
  /** How often a program died and was started again. */
  readonly restarts: number;
  readonly seconds: number;
  /** From the command to the first stored snapshot. */
  readonly firstStoredSeconds: number | null;
  readonly dashboardUrl: string;
}

/** @returns the summary for people */
export function summaryText(summary: DemoSummary): string {
  const { workflows, held, denied } = summary;
  const withheld =
    held + denied === 0 ? '' : `${held} wait for their owner to release them, ${denied} were denied\n`;
  return `
${summary.devices} devices sealed ${summary.sealed} snapshots; ${summary.stored} are stored: ${summary.lost} lost, ${summary.duplicated} duplicated
${withheld}${summary.redelivered} came twice and were recognised; ${summary.refused} requests refused; ${summary.rejected} inputs rejected
workflows: ${workflows.normal} normal, ${workflows.abnormal} abnormal, ${workflows.overdue} overdue
${summary.seconds.toFixed(1)} s, the first snapshot stored after ${summary.firstStoredSeconds?.toFixed(1) ?? '—'} s${
    summary.restarts > 0 ? `; ${summary.restarts} programs died and were started again` : ''
  }
`;
}

export function isClean({ lost, duplicated }: DemoSummary): boolean {
  return lost === 0 && duplicated === 0;
}
