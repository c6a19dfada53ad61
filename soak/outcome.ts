/** What a soak is given, and what it says in the end. */

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Kills of `kills`. */
  readonly kills: number;
  readonly connections: number;
  /** Messages a second of `plug`. */
  readonly rate: number;
  /** Shown now and again. */
  readonly onProgress: (line: string) => void;
}

export interface Outcome {
  /** What must not happen and did. */
  readonly violations: readonly string[];
  readonly figures: Readonly<Record<string, number | string>>;
}

export type Soak = (options: SoakOptions) => Promise<Outcome>;
