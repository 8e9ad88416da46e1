/** Something that runs between a start and a stop. */
export interface Service {
  readonly name: string;
  /** Resolves when the service works. Rejects, leaving nothing behind, where it can't or `signal` was aborted. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when nothing of the service is left. Called at most once. */
  stop(): Promise<void>;
}
