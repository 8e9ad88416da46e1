import type { Clock } from '../../kernel/clock.ts';
import type { Store } from '../../store/store.ts';
import type { Guards, GuardSettings } from './guards.ts';
import type { Mail } from './mail.ts';
import type { Names } from './readers.ts';

/** Config `messages`. */
export interface MessageSettings extends GuardSettings {
  /** s. */
  readonly ttl: number;
  readonly maxBytes: number;
}

/** What both boxes need. */
export interface MailParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly names: Names;
  readonly settings: () => MessageSettings;
  readonly guards: Guards;
  readonly mail: Mail;
}
