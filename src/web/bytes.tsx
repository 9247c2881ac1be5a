/** The bytes of a packet around a step: header by header, with what was added, removed and changed. */
import type { JSX } from 'preact';
import { compareFrames, type MarkedField, type MarkedHeader, showFrame } from '../ui/bytes.ts';
import { t } from './texts.ts';

export function StepBytes({ before, after }: { readonly before: string; readonly after: string }): JSX.Element {
  const compared = compareFrames(before, after);
  const removed = compared.before.filter(({ mark }) => mark === 'removed');
  const was = new Map(compared.before.map((header) => [keyOf(header, compared.before), header]));
  return (
    <div class="bytes">
      {removed.map((header) => (
        <Header key={`removed ${header.at}`} header={header} was={undefined} />
      ))}
      {compared.after.map((header) => (
        <Header key={header.at} header={header} was={was.get(keyOf(header, compared.after))} />
      ))}
    </div>
  );
}

export function FrameBytes({ frame }: { readonly frame: string }): JSX.Element {
  return (
    <div class="bytes">
      {showFrame(frame).map((header) => (
        <Header key={header.at} header={{ ...header, mark: 'same' }} was={undefined} />
      ))}
    </div>
  );
}

/** Counted from the inside: a tunnel is in front. */
const keyOf = (header: MarkedHeader, all: readonly MarkedHeader[]): string =>
  `${header.name} ${all.length - all.indexOf(header)}`;

const LABELS = { added: 'added', removed: 'removed', changed: 'changed', same: undefined } as const;

function Header({
  header,
  was,
}: {
  readonly header: MarkedHeader;
  readonly was: MarkedHeader | undefined;
}): JSX.Element {
  const label = LABELS[header.mark];
  return (
    <section class={`bytes-header ${header.mark}`} aria-label={header.name}>
      <h5>
        {header.outer ? `outer ${header.name}` : header.name}
        <small>
          {header.bytes} B{label !== undefined && ` · ${t(label)}`}
        </small>
      </h5>
      <dl>
        {header.fields.map((field) => (
          <Field
            key={field.name}
            field={field}
            whole={header.mark === 'added' || header.mark === 'removed'}
            was={was?.fields.find(({ name }) => name === field.name)}
          />
        ))}
      </dl>
    </section>
  );
}

interface FieldProps {
  readonly field: MarkedField;
  /** The whole header came or went: its fields are not marked one by one. */
  readonly whole: boolean;
  readonly was: MarkedField | undefined;
}

function Field({ field, whole, was }: FieldProps): JSX.Element {
  const changed = field.mark === 'changed' && !whole;
  return (
    <div class={changed ? 'field changed' : 'field'} style={{ flexGrow: field.bytes }}>
      <dt>{field.name}</dt>
      <dd>
        <code>{field.hex}</code>
        {field.value !== '' && <span class="value">{field.value}</span>}
        {changed && was !== undefined && (
          <span class="was">
            <del>
              <code>{was.hex}</code>
              {was.value !== '' && ` ${was.value}`}
            </del>
          </span>
        )}
      </dd>
    </div>
  );
}
