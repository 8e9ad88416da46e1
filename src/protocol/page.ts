import { z } from 'zod';

import { isStorable, utf8Length } from './text.ts';

const MAX_CURSOR_BYTES = 1024;

/** Where a page begins: nothing that an answer has named is refused. */
const cursorSchema = z
  .string()
  .max(MAX_CURSOR_BYTES)
  .refine((text) => utf8Length(text) <= MAX_CURSOR_BYTES, 'a cursor has at most 1024 bytes')
  .refine(isStorable, 'a cursor is text without NUL');

/** The fields by which every list is asked for page by page. */
export const pageInput = {
  cursor: cursorSchema.optional().describe('the nextCursor of the page before'),
  limit: z.coerce.number().int().min(1).max(1000).optional().describe('items; a page ends at 4 MiB too'),
};

/** GET of a list that takes nothing else. */
export const pageInputSchema = z.strictObject(pageInput);

/** The field of every list's answer that leads on. */
export const pageOutput = { nextCursor: z.string().optional().describe('there where more follows') };
