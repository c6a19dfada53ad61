/** The two databases of a bench, which may be asked for one of them. */
import type { Database } from '../database/connect.ts';

export type Engine = Database['engine'];

export const engineNames: Readonly<Record<Engine, string>> = { sqlite: 'SQLite', mysql: 'MariaDB' };

/** For the peer as well: MariaDB's own 128 MiB do not hold what a year of 20 machines takes (docs/operations.md). */
export const mariadbSettings: readonly string[] = ['--innodb-buffer-pool-size=1G'];

/** @param wanted - `sqlite` or `mariadb`; undefined: both @returns none if it is anything else */
export function enginesOf(wanted: string | undefined): readonly Engine[] {
  return (['sqlite', 'mysql'] as const).filter(
    (engine) => wanted === undefined || wanted === engineNames[engine].toLowerCase(),
  );
}
