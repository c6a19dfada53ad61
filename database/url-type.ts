/** The database as a setting: which engine, and where. */
import { z } from 'zod';
import type { ConfigTypes } from '../runtime/config.ts';

/** `sqlite:FILE`, relative to the configuration file like every other path, or `mysql://…`. */
export function databaseUrlType(types: ConfigTypes): z.ZodType<string> {
  return z.string().transform((url, context) => {
    if (/^(mysql|mariadb):\/\/./.test(url)) return url;
    const file = /^sqlite:(.+)$/.exec(url)?.[1];
    if (file !== undefined) return file === ':memory:' ? url : `sqlite:${types.path.parse(file)}`;
    context.addIssue('wanted sqlite:FILE or mysql://…');
    return z.NEVER;
  });
}
