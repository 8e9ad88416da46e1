/** What is promised of shared keys and values: see `requirements.ts`. */
export const CONTEXT = {
  'context.entry': 'an entry says who wrote it, peer and agent, when, and the revision of its last change',
  'context.if-revision': '`ifRevision` changes an entry only where it has that revision; 0 where there is none',
  'context.ttl': 'an entry ends in its time, whatever the clock is set to',
  'context.list': 'lists are by prefix, page by page',
  'context.budget': 'a byte budget for all, and a quota for each peer within it; full says whose and why',
  'context.events': 'each change is told on the bus, without its value',
  'context.lease': 'a lease is held by one, for its time; each holder has a greater fence',
  'context.lease-twins': 'of two that are one caller, one holds a lease',
  'context.watch': 'a watch begins with how things are, and goes on with each change in its order',
  'context.watch-resume': 'a watch goes on behind a cursor',
  'context.watch-compacted': 'a watch says so where what was missed is not kept any more',
  'context.watch-slow': 'a watcher that does not read costs the writer nothing',
  'context.model': 'any history of concurrent sets, conditions, deletes, expiry and watches equals a model',
  'context.two-nodes': 'a value that is set here is read there, and a lease that is taken here is refused there',
  'context.broadcast': 'a broadcast sets a key on every peer that is online, and names the absent ones',
} as const;
