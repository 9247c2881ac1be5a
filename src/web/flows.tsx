/** The table of flows, with the filters of `dataplane observe`. */
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { FlowRow } from '../ui/protocol.ts';
import * as live from './live.ts';
import { t } from './texts.ts';

/** Rows in the document; older ones are kept for the filter only. */
const SHOWN = 200;

export function Flows({
  onOpen,
  open,
}: {
  readonly onOpen: (row: FlowRow) => void;
  readonly open: number;
}): JSX.Element {
  const draft = useSignal(live.filter.value);
  const body = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useEffect(() => {
    draft.value = live.filter.value;
  }, [live.filter.value]);
  useEffect(() => {
    const element = body.current;
    if (element !== null && atEnd.current) element.scrollTop = element.scrollHeight;
  }, [live.rows.value]);
  const dropped = live.filter.value.includes('--verdict DROPPED');
  const shown = live.rows.value.slice(-SHOWN);
  return (
    <section class="flows" aria-label={t('flows')}>
      <form
        class="filter"
        onSubmit={(event) => {
          event.preventDefault();
          live.follow(draft.value.trim());
        }}
      >
        <h2>{t('flows')}</h2>
        <input
          type="text"
          value={draft.value}
          placeholder={t('filterHint')}
          aria-label={t('filter')}
          aria-invalid={live.filterError.value !== ''}
          aria-describedby="filter-error"
          spellcheck={false}
          onInput={(event) => {
            draft.value = event.currentTarget.value;
          }}
        />
        <button type="submit">{t('apply')}</button>
        <button type="button" aria-pressed={dropped} onClick={() => live.follow(dropped ? '' : '--verdict DROPPED')}>
          {t('droppedOnly')}
        </button>
        <button type="button" disabled={live.filter.value === ''} onClick={() => live.follow('')}>
          {t('clear')}
        </button>
        <button type="button" aria-pressed={live.paused.value} onClick={() => live.setPaused(!live.paused.value)}>
          {live.paused.value ? t('resume') : t('pause')}
        </button>
        {live.paused.value && <span class="muted">{t('paused', live.held.value.length)}</span>}
      </form>
      <p id="filter-error" class="error" role="alert" hidden={live.filterError.value === ''}>
        {live.filterError.value}
      </p>
      <section
        class="flow-body"
        ref={body}
        tabIndex={0}
        aria-label={t('flowList')}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          atEnd.current = scrollHeight - scrollTop - clientHeight < 40;
        }}
      >
        <table>
          <thead>
            <tr>
              {(['time', 'node', 'source', 'destination', 'type', 'verdict', 'summary'] as const).map((name) => (
                <th key={name} scope="col" class={`col-${name}`}>
                  {t(name)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{shown.map((row) => rowOf(row, row.number === open, onOpen))}</tbody>
        </table>
        {shown.length === 0 && <p class="empty">{live.filter.value === '' ? t('noFlows') : t('noFlowPasses')}</p>}
      </section>
      {live.skipped.value > 0 && <p class="hint">{t('skipped', live.skipped.value)}</p>}
    </section>
  );
}

/** A row that is the same element as before is not compared again: there are hundreds, four times a second. */
const closedRows = new WeakMap<FlowRow, JSX.Element>();

function rowOf(row: FlowRow, open: boolean, onOpen: (row: FlowRow) => void): JSX.Element {
  const known = open ? undefined : closedRows.get(row);
  if (known !== undefined) return known;
  const made = <Row key={row.number} row={row} open={open} onOpen={onOpen} />;
  if (!open) closedRows.set(row, made);
  return made;
}

interface RowProps {
  readonly row: FlowRow;
  readonly open: boolean;
  readonly onOpen: (row: FlowRow) => void;
}

function Row({ row, open, onOpen }: RowProps): JSX.Element {
  const time = row.time.slice(11, 23);
  return (
    <tr class={`${row.dropped ? 'dropped' : ''} ${open ? 'open' : ''}`} onClick={() => onOpen(row)}>
      <td class="col-time">
        <button
          type="button"
          class="row-button"
          onClick={(event) => {
            event.stopPropagation();
            onOpen(row);
          }}
        >
          {time}
        </button>
      </td>
      <td>{row.node}</td>
      <td title={row.source}>{row.source}</td>
      <td title={row.destination}>{row.destination}</td>
      <td title={row.type}>{row.type}</td>
      <td>
        <span class={row.dropped ? 'verdict bad' : 'verdict good'}>{row.verdict}</span>
      </td>
      <td title={row.summary}>{row.summary}</td>
    </tr>
  );
}
