/** One message of a `text/event-stream`. */
export interface SseMessage {
  /** The cursor behind this message: what `Last-Event-ID` resumes from. */
  readonly id: string | undefined;
  /** The event's type; `message` where the stream names none. */
  readonly event: string;
  readonly data: string;
}

/** A longer line, or event, is an error of the sender. */
const MAX_CHARACTERS = 8_388_608;

/** Splits decoded text into lines that end in CR, LF or CRLF, wherever the chunks are cut. */
async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let line = '';
  let held = '';
  for await (const chunk of chunks) {
    // What is there of a long line was searched when it came.
    const [first = '', ...more] = (held + decoder.decode(chunk, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    const lines = [line + first, ...more];
    const rest = lines.pop() ?? '';
    // A CR at the very end may be half of a CRLF: it waits for the next chunk.
    held = rest.endsWith('\r') ? '\r' : '';
    line = held === '' ? rest : rest.slice(0, -1);
    if (line.length > MAX_CHARACTERS) throw new RangeError('a line of the event stream is too long');
    yield* lines;
  }
  if (held !== '') yield line;
}

const splitField = (line: string): { field: string; value: string } => {
  const colon = line.indexOf(':');
  if (colon < 0) return { field: line, value: '' };
  return { field: line.slice(0, colon), value: line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1)) };
};

/**
 * Parses a `text/event-stream`, cut anywhere. Comments (heartbeats) are dropped, and so is an event that the end of
 * the stream cuts, as the standard says.
 * @throws {RangeError} on an event above 8 Mi characters.
 */
export async function* parseSse(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<SseMessage> {
  let id: string | undefined;
  let event = '';
  let data = '';
  for await (const line of linesOf(chunks)) {
    if (line === '') {
      // Each data line left its own line feed behind; the last one is not part of the data.
      if (data !== '') yield { id, event: event || 'message', data: data.slice(0, -1) };
      event = '';
      data = '';
      continue;
    }
    const { field, value } = splitField(line);
    if (field === 'data') data += `${value}\n`;
    if (field === 'event') event = value;
    if (field === 'id' && !value.includes('\0')) id = value;
    if (data.length > MAX_CHARACTERS) throw new RangeError('an event of the stream is too long');
  }
}
