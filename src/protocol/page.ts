import { z } from 'zod';

/** The fields by which every list is asked for page by page. */
export const pageInput = {
  cursor: z.string().max(1024).optional().describe('the nextCursor of the page before'),
  limit: z.coerce.number().int().min(1).max(1000).optional().describe('items; a page ends at 4 MiB too'),
};

/** GET of a list that takes nothing else. */
export const pageInputSchema = z.strictObject(pageInput);

/** The field of every list's answer that leads on. */
export const pageOutput = { nextCursor: z.string().optional().describe('there where more follows') };
