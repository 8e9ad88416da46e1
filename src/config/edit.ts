import { isMap, isNode, isScalar, parseDocument, type Document } from 'yaml';

/** A change of one place in a settings file. `undefined` takes the key out. */
export interface Edit {
  readonly path: readonly string[];
  readonly value: unknown;
}

/**
 * The text with the edits made. Comments stay. Where just a value that is there is replaced by another, nothing else of
 * the text changes; else it is written anew in YAML's usual form.
 */
export const editYaml = (text: string, edits: readonly Edit[]): string => edits.reduce(editOnce, text);

const editOnce = (text: string, { path, value }: Edit): string => {
  const document = parseDocument(text, { prettyErrors: false });
  const inPlace = replaceScalar(document, text, { path, value });
  if (inPlace !== undefined) return inPlace;
  if (value === undefined && !document.hasIn(path)) return text;
  if (value === undefined) document.deleteIn(path);
  else setIn(document, path, value);
  return document.toString({ lineWidth: 0 });
};

const replaceScalar = (document: Document, text: string, { path, value }: Edit): string | undefined => {
  const node = document.getIn(path, true);
  const plain = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
  if (!plain || !isScalar(node) || node.value === null || !node.range) return undefined;
  if (node.type === 'BLOCK_FOLDED' || node.type === 'BLOCK_LITERAL' || node.anchor !== undefined) return undefined;
  const [start, end] = node.range;
  // JSON is YAML: quoted, a text never means anything else.
  return `${text.slice(0, start)}${JSON.stringify(value)}${text.slice(end)}`;
};

const setIn = (document: Document, path: readonly string[], value: unknown): void => {
  for (let depth = 1; depth < path.length; depth++) openSection(document, path.slice(0, depth));
  document.setIn(path, document.createNode(value));
};

/** A section whose keys are all commented out is a null with a comment: it becomes a map that keeps the comment. */
const openSection = (document: Document, path: readonly string[]): void => {
  const node = document.getIn(path, true);
  if (isMap(node)) return;
  const section = document.createNode({});
  if (isNode(node) && node.comment) section.commentBefore = node.comment;
  document.setIn(path, section);
};
