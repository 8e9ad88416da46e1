import type { HandlersOf } from '../edge/call.ts';
import type { AuditLog } from './log.ts';

/** Binds the operations of the audit log to it. */
export const auditHandlers = (audit: AuditLog): HandlersOf<'audit'> => ({
  'audit.list': (input) => audit.list(input),
  'audit.follow': (input) => audit.follow(input),
});
