import { z } from 'zod';

/** GET /config: what is in force; keys and tokens are shown as `(hidden)`. */
export const configOutputSchema = z.object({
  file: z.string(),
  config: z.record(z.string(), z.unknown()),
  restartNeeded: z.array(z.string()),
});

/** PATCH /config: dotted keys and their new values; null takes a key out. All are taken, or none. */
export const configChangeSchema = z.strictObject({
  changes: z.record(z.string().min(1).max(200), z.unknown()),
});
